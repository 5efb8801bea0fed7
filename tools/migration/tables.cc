#include "tools/migration/tables.h"

#include <algorithm>

namespace hallmark::migration {
namespace {

Error Wrong(const Place& place, const std::string& what) {
  return MakeError(Reason::kInvalidArgument, place.Text() + ": " + what);
}

// For whom a line of the SigningTable is; nothing where that cannot be said with domains.
std::optional<Authors> AuthorsOf(const std::string& key, bool patterns) {
  const std::size_t at = key.rfind('@');
  const bool has_local = at != std::string::npos;
  const std::string local = has_local ? key.substr(0, at) : "";
  const std::string domain = has_local ? key.substr(at + 1) : key;
  const bool everyone = !has_local || (patterns && local == "*");
  if (everyone && domain == "*") return Authors{Authors::Kind::kAll, ""};
  const bool below = patterns ? domain.starts_with("*.") : domain.starts_with('.');
  const std::string name = below ? domain.substr(patterns ? 2 : 1) : domain;
  if (name.empty() || name.find('*') != std::string::npos) return std::nullopt;
  // A pattern is matched with the whole address: without '@' it is "*.example.com" that says something, for what its
  // "*" stands for may have one.
  if (patterns && !has_local && !below) return std::nullopt;
  if (patterns && !everyone && local.find('*') != std::string::npos) return std::nullopt;
  if (!everyone) return Authors{Authors::Kind::kAddress, key};
  return Authors{below ? Authors::Kind::kBelow : Authors::Kind::kDomain, name};
}

class Tables {
 public:
  Tables(PathDomain path_domain, std::string selector, Notes& notes)
      : path_domain_(path_domain), selector_(std::move(selector)), notes_(notes) {}

  Status ReadKeys(const DataSet& table) {
    for (const Entry& entry : table.entries) {
      const std::size_t first = entry.value.find(':');
      std::size_t second = first == std::string::npos ? first : entry.value.find(':', first + 1);
      TableKey key{entry.value.substr(0, first), selector_, "", entry.place};
      if (second != std::string::npos) {
        key.selector = entry.value.substr(first + 1, second - first - 1);
      } else {
        second = first;
      }
      if (second == std::string::npos || key.selector.empty()) {
        return Wrong(entry.place, "expected NAME DOMAIN:SELECTOR:KEY");
      }
      key.key = entry.value.substr(second + 1);
      keys_.emplace(entry.key, std::move(key));
    }
    return Ok();
  }

  Status ReadSigning(const DataSet& table) {
    for (const Entry& entry : table.entries) {
      const Status added = AddLine(entry, table.patterns);
      if (!added) return added;
    }
    if (!table.patterns) std::stable_sort(rules_.begin(), rules_.end(), &IsLookedUpBefore);
    return Ok();
  }

  std::vector<SigningRule> Take() {
    for (const auto& [name, key] : keys_) {
      if (!key.used) Lost(key.place, "no line of the SigningTable uses \"" + name + "\": the key is not imported");
    }
    return std::move(rules_);
  }

 private:
  // A line of the KeyTable.
  struct TableKey {
    std::string domain, selector, key;
    Place place;
    bool used = false;
  };

  void Lost(const Place& place, const std::string& text) { notes_.push_back({Note::Kind::kLost, place, text}); }

  Status AddLine(const Entry& entry, bool patterns) {
    const std::size_t colon = entry.value.find(':');
    std::string name = entry.value.substr(0, colon);
    const std::string signer = colon == std::string::npos ? "" : entry.value.substr(colon + 1);
    if (name.empty()) return Wrong(entry.place, "expected PATTERN KEYNAME");
    const auto authors = AuthorsOf(Lower(entry.key), patterns);
    if (!authors) {
      Lost(entry.place, "\"" + entry.key +
                            "\" is a pattern that is neither a domain nor all below one: say in the policy "
                            "who may send");
    }
    if (name == "%" && authors && authors->kind == Authors::Kind::kDomain) name = authors->name;
    const auto found = keys_.find(name);
    if (found == keys_.end() && name == "%") {
      Lost(entry.place,
           "the key is named by the author's domain (%), and the table does not say which there are: import "
           "each with dkimctl import pem");
      return Ok();
    }
    if (found == keys_.end()) return Wrong(entry.place, "the KeyTable has no \"" + name + "\"");
    found->second.used = true;
    TableKey key = found->second;
    if (!authors || !Expand(key, *authors, entry.place)) return Ok();
    const bool in_file = key.key.starts_with('/') || key.key.starts_with("./") || key.key.starts_with("../");
    SigningRule rule{*authors, key.domain, key.selector, {in_file ? key.key : "", {}}, entry.place};
    if (!in_file) rule.key.content.assign(key.key.begin(), key.key.end());
    if (!signer.empty()) NoteSigner(signer, rule);
    rules_.push_back(std::move(rule));
    return Ok();
  }

  // "%" for the domain is the author's, and in a path what path_domain_ says.
  bool Expand(TableKey& key, const Authors& authors, const Place& place) {
    const bool in_file = key.key.starts_with('/') || key.key.starts_with('.');
    std::size_t at = in_file ? key.key.find('%') : std::string::npos;
    const bool path_of_author = at != std::string::npos && path_domain_ == PathDomain::kAuthors;
    const bool of_author = key.domain == "%" || path_of_author;
    if (of_author && authors.kind != Authors::Kind::kDomain) {
      Lost(place, "the key depends on the author's domain (% at " + key.place.Text() +
                      "), and the table does not say which there are: import each with dkimctl import pem");
      return false;
    }
    if (key.domain == "%") key.domain = authors.name;
    const std::string& domain = path_of_author ? authors.name : key.domain;
    for (; at != std::string::npos; at = key.key.find('%', at + domain.size())) key.key.replace(at, 1, domain);
    return true;
  }

  // i= beside d= (RFC 6376 section 3.5): "@d" is what verifiers assume where there is none.
  void NoteSigner(const std::string& signer, const SigningRule& rule) {
    const std::string lower = Lower(signer), domain = Lower(rule.domain);
    if (lower == "@" + domain || ((lower == "%" || lower == "@%") && rule.authors.name == domain)) return;
    Lost(rule.place, "i=" + signer + " is not carried over: dkimctl profile set NAME --auid says it for a profile");
  }

  const PathDomain path_domain_;
  const std::string selector_;
  Notes& notes_;
  std::map<std::string, TableKey> keys_;  // by name
  std::vector<SigningRule> rules_;
};

}  // namespace

bool IsLookedUpBefore(const SigningRule& a, const SigningRule& b) {
  const auto rank = [](const SigningRule& rule) {
    switch (rule.authors.kind) {
      case Authors::Kind::kAddress: return 0;
      case Authors::Kind::kDomain: return 1;
      case Authors::Kind::kBelow: return 2;
      case Authors::Kind::kAll: return 3;
    }
    return 4;
  };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  return a.authors.kind == Authors::Kind::kBelow && a.authors.name.size() > b.authors.name.size();
}

Result<std::vector<SigningRule>> RulesFromTables(const DataSet& signing, const DataSet& keys, PathDomain path_domain,
                                                 const std::string& selector, Notes& notes) {
  Tables tables(path_domain, selector, notes);
  Status done = tables.ReadKeys(keys);
  if (done) done = tables.ReadSigning(signing);
  if (!done) return done.error();
  return tables.Take();
}

}  // namespace hallmark::migration
