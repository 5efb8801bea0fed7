#include "tools/migration/plan.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"

namespace hallmark::migration {
namespace {

using Signatures = std::set<std::pair<std::string, std::string>>;  // d=, s=

// The domain itself, then each that it is below, the nearest first.
std::vector<std::string> WithAncestors(const std::string& domain) {
  std::vector<std::string> out = {domain};
  for (std::size_t dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1)) {
    out.push_back(domain.substr(dot + 1));
  }
  return out;
}

// What the other signer does. Its tables may be long, so a domain's rules are looked up.
class Before {
 public:
  Before(const std::vector<SigningRule>& rules, bool all_matches) : rules_(rules), all_matches_(all_matches) {
    for (std::size_t i = 0; i < rules.size(); ++i)
      by_authors_[{rules[i].authors.kind, rules[i].authors.name}].push_back(i);
  }
  Signatures Of(const std::string& domain) const {
    std::vector<std::size_t> matching = RulesOf(Authors::Kind::kAll, "");
    for (const std::string& name : WithAncestors(domain)) {
      const auto found = RulesOf(name == domain ? Authors::Kind::kDomain : Authors::Kind::kBelow, name);
      matching.insert(matching.end(), found.begin(), found.end());
    }
    std::sort(matching.begin(), matching.end());
    if (!all_matches_ && matching.size() > 1) matching.resize(1);
    Signatures out;
    for (const std::size_t i : matching) out.emplace(rules_[i].domain, rules_[i].selector);
    return out;
  }

 private:
  std::vector<std::size_t> RulesOf(Authors::Kind kind, const std::string& name) const {
    const auto found = by_authors_.find({kind, name});
    return found == by_authors_.end() ? std::vector<std::size_t>() : found->second;
  }
  const std::vector<SigningRule>& rules_;
  const bool all_matches_;
  std::map<std::pair<Authors::Kind, std::string>, std::vector<std::size_t>> by_authors_;
};

// What Hallmark will do, as admission decides: by the longest configured domain that is the author's or above it.
class After {
 public:
  explicit After(const Plan& plan) : plan_(plan) {
    for (const PlannedKey& key : plan.keys) {
      if (key.active) active_[key.domain].emplace(key.domain, key.selector);
    }
  }
  Signatures Of(const std::string& domain) const {
    const auto names = WithAncestors(domain);
    const bool may = plan_.author_domains.contains(domain) ||
                     std::any_of(names.begin(), names.end(),
                                 [&](const std::string& name) { return plan_.author_domains.contains("." + name); });
    const auto signing =
        std::find_if(names.begin(), names.end(), [&](const std::string& name) { return plan_.domains.contains(name); });
    const auto found = may && signing != names.end() ? active_.find(*signing) : active_.end();
    return found == active_.end() ? Signatures() : found->second;
  }

 private:
  const Plan& plan_;
  std::map<std::string, Signatures> active_;
};

std::string Describe(const Signatures& signatures) {
  if (signatures.empty()) return "not signed";
  std::string out;
  for (const auto& [domain, selector] : signatures) {
    out += (out.empty() ? "signed with d=" : " and d=") + domain + " s=" + selector;
  }
  return out;
}

std::string Describe(const Authors& authors) {
  switch (authors.kind) {
    case Authors::Kind::kDomain: return "mail from " + authors.name;
    case Authors::Kind::kBelow: return "mail from below " + authors.name;
    case Authors::Kind::kAll: return "mail from any domain";
    case Authors::Kind::kAddress: return "mail from " + authors.name;
  }
  return "";
}

// The author domains that the policy has to name for the rule; empty, and a note, where Hallmark has no such rule.
std::string AuthorDomainFor(const SigningRule& rule, Notes& notes) {
  const Authors& authors = rule.authors;
  const auto lost = [&](const std::string& why) {
    notes.push_back(
        {Note::Kind::kLost, rule.place, Describe(authors) + " was signed with d=" + rule.domain + ": " + why});
    return std::string();
  };
  if (authors.kind == Authors::Kind::kAddress) {
    return lost("Hallmark chooses keys by domain, not by address; the policy's `addresses` can say who may send");
  }
  if (authors.kind == Authors::Kind::kAll) {
    notes.push_back({Note::Kind::kDiffers, rule.place,
                     "mail from any domain was signed with d=" + rule.domain + ": Hallmark does so for " + rule.domain +
                         " and what is below it; for others a relay has to name the signing domain, with `alignment = "
                         "\"off\"` in its partner's policy"});
    return "." + rule.domain;
  }
  if (!IsOrIsBelow(authors.name, rule.domain)) {
    return lost(
        "the author domain is not below it, so a relay has to name the signing domain, with `alignment = "
        "\"off\"` in its partner's policy");
  }
  return (authors.kind == Authors::Kind::kBelow ? "." : "") + authors.name;
}

// Names as Hallmark has them; false, and a note, where they can't be.
bool Normalize(SigningRule& rule, Notes& notes) {
  const auto lost = [&](const std::string& why) {
    notes.push_back({Note::Kind::kLost, rule.place, why});
    return false;
  };
  const auto domain = dkim::NormalizeDomain(rule.domain);
  if (!domain) return lost("\"" + rule.domain + "\" is no signing domain: " + domain.error().message);
  rule.domain = *domain;
  rule.selector = Lower(rule.selector);
  const Status selector = dkim::ValidateSelector(rule.selector);
  if (!selector) return lost("\"" + rule.selector + "\" is no selector: " + selector.error().message);
  if (rule.authors.kind == Authors::Kind::kDomain || rule.authors.kind == Authors::Kind::kBelow) {
    const auto name = dkim::NormalizeDomain(rule.authors.name);
    if (!name) return lost("\"" + rule.authors.name + "\" is no domain: " + name.error().message);
    rule.authors.name = *name;
  }
  return true;
}

// Where each domain and selector is in Plan::keys.
using KeyPlaces = std::map<std::pair<std::string, std::string>, std::size_t>;

PlannedKey& KeyOf(const SigningRule& rule, KeyPlaces& places, Plan& plan) {
  const auto [place, fresh] = places.emplace(std::pair(rule.domain, rule.selector), plan.keys.size());
  if (fresh) {
    plan.keys.push_back({rule.domain, rule.selector, rule.key, false, rule.place});
    return plan.keys.back();
  }
  PlannedKey& known = plan.keys[place->second];
  if (known.key.path != rule.key.path || known.key.content != rule.key.content) {
    plan.notes.push_back({Note::Kind::kLost, rule.place,
                          "d=" + rule.domain + " s=" + rule.selector + " has another key at " + known.place.Text() +
                              ": only one can match the record in DNS, and the first is taken"});
  }
  return known;
}

void NoteDifferences(const std::vector<SigningRule>& rules, bool all_matches, Plan& plan) {
  std::map<std::string, Place> probes;
  for (const SigningRule& rule : rules) {
    if (rule.authors.kind == Authors::Kind::kDomain) probes.emplace(rule.authors.name, rule.place);
    if (rule.authors.kind == Authors::Kind::kBelow) {
      probes.emplace(rule.authors.name, rule.place);
      probes.emplace("mail." + rule.authors.name, rule.place);
    }
    probes.emplace(rule.domain, rule.place);
    probes.emplace("mail." + rule.domain, rule.place);
  }
  const Before signed_before(rules, all_matches);
  const After signed_after(plan);
  for (const auto& [domain, place] : probes) {
    const Signatures before = signed_before.Of(domain), after = signed_after.Of(domain);
    if (before == after) continue;
    plan.notes.push_back({Note::Kind::kDiffers, place,
                          "mail from " + domain + " was " + Describe(before) + ", and will " +
                              (after.empty() ? "not be signed" : "be " + Describe(after))});
  }
}

}  // namespace

void AddRules(const std::vector<SigningRule>& given, bool all_matches, Plan& plan) {
  std::vector<SigningRule> rules;
  for (SigningRule rule : given) {
    if (Normalize(rule, plan.notes)) rules.push_back(std::move(rule));
  }
  KeyPlaces places;
  std::map<std::pair<Authors::Kind, std::string>, Place> seen;
  for (const SigningRule& rule : rules) {
    PlannedKey& key = KeyOf(rule, places, plan);
    plan.domains.insert(rule.domain);
    const auto [first, fresh] = seen.emplace(std::pair(rule.authors.kind, rule.authors.name), rule.place);
    if (!fresh && !all_matches) {
      plan.notes.push_back({Note::Kind::kDiffers, rule.place,
                            Describe(rule.authors) + " matches " + first->second.Text() +
                                " first, so this line had no effect: its key is imported and signs nothing"});
      continue;
    }
    const std::string entry = AuthorDomainFor(rule, plan.notes);
    if (entry.empty()) continue;
    plan.author_domains.insert(entry);
    key.active = true;
  }
  NoteDifferences(rules, all_matches, plan);
}

Result<std::vector<std::string_view>> Lines(std::string_view text, const std::string& file) {
  if (text.find('\0') != std::string_view::npos) {
    return MakeError(Reason::kInvalidArgument, file + ": has a NUL, so it is no configuration");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string Lower(std::string_view text) { return dkim::ToLower(text); }

bool IsOrIsBelow(std::string_view domain, std::string_view above) {
  return domain == above ||
         (domain.size() > above.size() && domain.ends_with(above) && domain[domain.size() - above.size() - 1] == '.');
}

}  // namespace hallmark::migration
