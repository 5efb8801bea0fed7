#include "tools/migration/rspamd.h"

#include <algorithm>
#include <optional>

#include "signerd/dkim/author.h"
#include "signerd/snapshot/organizational_domain.h"
#include "tools/migration/opendkim_files.h"
#include "tools/migration/tables.h"
#include "tools/migration/ucl.h"

namespace hallmark::migration {
namespace {

// What rspamd 3.4 signs where `sign_headers` says nothing. (o): named once more than it occurs; (x): so where it
// occurs.
constexpr char kSignHeaders[] =
    "(o)from:(x)sender:(o)reply-to:(o)subject:(x)date:(x)message-id:(o)to:(o)cc:(x)mime-version:(x)content-type:"
    "(x)content-transfer-encoding:resent-to:resent-cc:resent-from:resent-sender:resent-message-id:(x)in-reply-to:"
    "(x)references:list-id:list-help:list-owner:list-unsubscribe:list-unsubscribe-post:list-subscribe:list-post:"
    "(x)openpgp:(x)autocrypt";
constexpr char kDataFolder[] = "/var/lib/rspamd";
constexpr char kKeyPath[] = "/var/lib/rspamd/dkim/$domain.$selector.key";
constexpr char kSelector[] = "dkim";

// Settings that decide what is signed or for whom, and that Hallmark does otherwise; `harmless` is the value, if any,
// that needs no word.
struct Unlike {
  const char* name;
  const char* harmless;
  const char* why;
};
constexpr Unlike kUnlike[] = {
    {"use_redis", "false", "keys in Redis are not read: write each to a file, and use dkimctl import pem"},
    {"use_vault", "false", "keys in Vault are not read: write each to a file, and use dkimctl import pem"},
    {"use_http_headers", "false", "keys in HTTP headers have no counterpart: a relay names the signing domain instead"},
    {"sign_condition", nullptr, "Lua has no counterpart"},
    {"use_domain_custom", nullptr, "Lua has no counterpart"},
    {"use_domain_sign_networks", nullptr, "Hallmark takes the author's domain for every relay"},
    {"use_domain_sign_local", nullptr, "Hallmark takes the author's domain for every relay"},
    {"use_domain_sign_inbound", nullptr, "Hallmark takes the author's domain for every relay"},
    {"sign_inbound", "false", "Hallmark signs what relays send it"},
    {"allow_hdrfrom_multiple", "false", "Hallmark signs no message with several From fields"},
    {"allow_hdrfrom_mismatch", "false", "Hallmark does not look at the sender of the envelope"},
    {"allow_username_mismatch", "false", "which domains a sender may use is said by its partner's author_domains"},
    {"check_pubkey", "false", "Hallmark verifies every signature, and looks into DNS when a key is activated"},
    {"check_violation", nullptr, "Hallmark does not verify what it is sent"},
    {"selector_prefix", nullptr, "keys in Redis are not read"},
};

bool IsYes(const Ucl* value, bool standard) {
  return value == nullptr ? standard : ParseYesNo(value->text).value_or(Lower(value->text) == "on");
}

std::string Replace(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

class Rspamd {
 public:
  Rspamd(std::string path, const Files& files) : path_(std::move(path)), files_(files) {}

  Result<Plan> MakePlan() {
    Status done = ReadModule("dkim_signing", signing_);
    if (!done) return done.error();
    Ucl dkim;
    if (folder_) {
      done = ReadModule("dkim", dkim);
    } else {
      Add(Note::Kind::kDiffers, {path_, 0},
          "sign_headers of rspamd's module dkim is in another file, which was not read: the fields are those of "
          "rspamd's own list; name the folder to have the list that it was given");
    }
    if (!done) return done.error();
    ReadProfile(dkim);
    NoteUnlike();
    done = ReadSenders();
    if (done) done = Get("signing_table") != nullptr && Get("key_table") != nullptr ? ReadTables() : ReadDomains();
    if (!done) return done.error();
    return std::move(plan_);
  }

 private:
  // A domain's keys by selector and path; both may be empty, for the ones that hold where nothing is said.
  struct Selector {
    std::string selector, path;
    Place place;
  };

  const Ucl* Get(const std::string& name) const { return signing_.Find(name); }
  std::string Text(const std::string& name, const std::string& standard) const {
    const Ucl* value = Get(name);
    return value == nullptr ? standard : value->text;
  }
  void Add(Note::Kind kind, const Place& place, const std::string& text) { plan_.notes.push_back({kind, place, text}); }

  // The file that was named; or, of a folder, the three that rspamd puts on top of one another.
  Status ReadModule(const std::string& module, Ucl& out) {
    out.kind = Ucl::Kind::kObject;
    const auto named = files_.read(path_);
    if (named) return ReadPart(path_, *named, module, SameName::kMerged, out);
    folder_ = true;
    bool any = false;
    // The files of modules.d include local.d with duplicate=merge, and override.d without.
    for (const auto& [part, same_name] : {std::pair{"modules.d", SameName::kMerged},
                                          {"local.d", SameName::kMerged},
                                          {"override.d", SameName::kReplaced}}) {
      const std::string file = path_ + "/" + part + "/" + module + ".conf";
      const auto text = files_.read(file);
      if (!text && text.error().reason == Reason::kNotFound) continue;
      if (!text) return text.error();
      any = true;
      const Status read = ReadPart(file, *text, module, same_name, out);
      if (!read) return read;
    }
    if (any || module != "dkim_signing") return Ok();
    return MakeError(Reason::kNotFound, path_ + ": there is no dkim_signing.conf in modules.d, local.d or override.d");
  }

  Status ReadPart(const std::string& file, const std::string& text, const std::string& module, SameName same_name,
                  Ucl& out) {
    const auto parsed = ParseUcl(text, file);
    if (!parsed) return parsed.error();
    const Ucl* section = parsed->Find(module);
    const Ucl& content = section != nullptr && section->kind == Ucl::Kind::kObject ? *section : *parsed;
    for (const Ucl& value : content.members) {
      // Those of the folder's own files are read anyway.
      const bool own = folder_ && value.text.ends_with("/" + module + ".conf");
      if (value.name.starts_with('.') && !own) {
        Add(Note::Kind::kLost, value.place,
            value.name + " " + value.text + ": not followed; name that file to read it");
      }
    }
    MergeUcl(out, content, same_name);
    return Ok();
  }

  // rspamd has these only, and they are the same for every domain.
  void ReadProfile(const Ucl& dkim) {
    dkim::SigningProfile& profile = plan_.profile;
    profile.name = "rspamd";
    const Ucl* given = dkim.Find("sign_headers");
    std::string_view list = given == nullptr ? std::string_view(kSignHeaders) : given->text;
    bool where_present = false;
    while (!list.empty()) {
      const std::size_t end = list.find(':');
      std::string_view name = Trim(list.substr(0, end));
      list = end == std::string_view::npos ? std::string_view() : list.substr(end + 1);
      const bool oversigned = name.starts_with("(o)");
      where_present = where_present || name.starts_with("(x)");
      if (name.starts_with('(')) name.remove_prefix(std::min(name.size(), name.find(')') + 1));
      if (name.empty()) continue;
      profile.signed_fields.emplace_back(name);
      if (oversigned) profile.oversigned_fields.emplace_back(name);
    }
    // Empty lists would stand for the built-in ones.
    profile.excluded_fields = {"Return-Path", "Received", "DKIM-Signature"};
    std::erase_if(profile.excluded_fields, [&](const std::string& excluded) {
      return std::any_of(profile.signed_fields.begin(), profile.signed_fields.end(),
                         [&](const std::string& name) { return Lower(name) == Lower(excluded); });
    });
    if (profile.excluded_fields.empty()) profile.excluded_fields = {"X-Never-Signed"};
    if (profile.oversigned_fields.empty()) profile.oversigned_fields = {profile.excluded_fields.front()};
    if (where_present) {
      Add(Note::Kind::kDiffers, given == nullptr ? Place{path_, 0} : given->place,
          "fields marked (x) were named once more in h= where they occurred, so that none could be added; Hallmark "
          "does "
          "that whether they occur or not, or not at all, and the profile does not: to have it done, name them with "
          "dkimctl profile set --oversigned-fields");
    }
  }

  void NoteUnlike() {
    for (const Unlike& unlike : kUnlike) {
      const Ucl* value = Get(unlike.name);
      if (value == nullptr || (unlike.harmless != nullptr && !IsYes(value, false))) continue;
      Add(Note::Kind::kLost, value->place, std::string(unlike.name) + ": " + unlike.why);
    }
    const Ucl* enabled = Get("enabled");
    if (!IsYes(enabled, true)) {
      Add(Note::Kind::kDiffers, enabled->place,
          "enabled: rspamd signs nothing; keys that are activated here sign all the same");
    }
    const Ucl* domain = Get("use_domain");
    if (domain != nullptr && domain->text != "header") {
      Add(Note::Kind::kLost, domain->place,
          "use_domain = \"" + domain->text + "\": Hallmark takes the signing domain from the From field");
    }
  }

  Status ReadSenders() {
    if (IsYes(Get("sign_authenticated"), true)) plan_.senders.push_back("whoever logs in to the mail server");
    if (IsYes(Get("sign_local"), true)) plan_.senders.push_back("local_addrs of rspamd: loopback and private networks");
    const Ucl* networks = Get("sign_networks");
    if (networks == nullptr) return Ok();
    const auto map = ReadMap(*networks);
    if (!map) return map.error();
    for (const Entry& entry : *map) plan_.senders.push_back(entry.key);
    return Ok();
  }

  // "$LOCAL_CONFDIR" and its like, as rspamd sets them.
  std::string Expand(std::string text) const {
    const std::string folder = folder_ ? path_ : "/etc/rspamd";
    for (const auto& [name, value] :
         {std::pair<std::string, std::string>{"LOCAL_CONFDIR", folder}, {"CONFDIR", folder}, {"DBDIR", kDataFolder}}) {
      text = Replace(Replace(std::move(text), "${" + name + "}", value), "$" + name, value);
    }
    return text;
  }

  // A map: an object, an array of lines, or a file with lines. Nothing, and a note, for what is elsewhere.
  Result<std::vector<Entry>> ReadMap(const Ucl& map) {
    std::vector<Entry> out;
    for (const Ucl& value : map.members) out.push_back({value.name, value.text, value.place});
    for (const Ucl& item : map.items) AddMapLine(item.text, item.place, out);
    if (map.kind != Ucl::Kind::kText) return out;
    std::string file = Expand(map.text);
    for (const char* prefix : {"fallback+file://", "file://"}) {
      if (file.starts_with(prefix)) file.erase(0, std::string_view(prefix).size());
    }
    if (!file.starts_with('/')) {
      if (file.find("://") == std::string::npos && !file.empty()) {
        AddMapLine(file, map.place, out);
      } else {
        Add(Note::Kind::kLost, map.place, "the map " + map.text + " is not read: write it to a file and name that");
      }
      return out;
    }
    const auto text = files_.read(file);
    if (!text) return text.error();
    Add(Note::Kind::kRead, map.place, file);
    const auto lines = Lines(*text, file);
    if (!lines) return lines.error();
    unsigned number = 0;
    for (const std::string_view line : *lines) AddMapLine(line.substr(0, line.find('#')), {file, ++number}, out);
    return out;
  }
  static void AddMapLine(std::string_view line, const Place& place, std::vector<Entry>& out) {
    line = Trim(line);
    if (line.empty()) return;
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    const auto plain = [](std::string_view text) {
      text = Trim(text);
      const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
      return std::string(quoted ? text.substr(1, text.size() - 2) : text);
    };
    out.push_back({plain(line.substr(0, end)), plain(line.substr(end)), place});
  }

  Status ReadTables() {
    DataSet signing, keys;
    signing.patterns = true;  // both are globs
    auto map = ReadMap(*Get("signing_table"));
    if (!map) return map.error();
    signing.entries = std::move(*map);
    map = ReadMap(*Get("key_table"));
    if (!map) return map.error();
    keys.entries = std::move(*map);
    const auto rules = RulesFromTables(signing, keys, PathDomain::kAuthors, Text("selector", kSelector), plan_.notes);
    if (!rules) return rules.error();
    AddRules(*rules, false, plan_);
    return Ok();
  }

  // domain { }, selector_map and path_map, and the files that the path's pattern matches.
  Status ReadDomains() {
    std::map<std::string, std::vector<Selector>> domains;
    const Ucl* blocks = Get("domain");
    if (blocks != nullptr) {
      for (const Ucl& block : blocks->members) AddBlock(block, domains[Lower(block.name)]);
    }
    Status done = AddMaps(domains);
    const bool falls_back = IsYes(Get("try_fallback"), true) && !IsYes(Get("use_redis"), false);
    if (falls_back && blocks != nullptr) {
      // An empty block says nothing: its domain has the selector and the path of all.
      for (const Ucl& block : blocks->members) {
        auto& selectors = domains[Lower(block.name)];
        if (selectors.empty()) selectors.push_back({"", "", block.place});
      }
    }
    if (done && falls_back) done = AddFiles(domains);
    if (!done) return done;
    const std::string path = Expand(Text("path", kKeyPath)), selector = Text("selector", kSelector);
    const bool organizational = IsYes(Get("use_esld"), true);
    std::vector<SigningRule> rules;
    for (const auto& [domain, selectors] : domains) {
      const std::string above(snapshot::OrganizationalDomain(domain));
      if (organizational && above != domain && !selectors.empty()) {
        Add(Note::Kind::kLost, selectors.front().place,
            domain + " is never signed with: use_esld takes " + (above.empty() ? "another domain" : above) +
                " instead; its keys are not imported");
        continue;
      }
      for (const Selector& given : selectors) {
        const std::string name = given.selector.empty() ? selector : given.selector;
        std::string file = given.path.empty() ? path : Expand(given.path);
        file = Replace(Replace(std::move(file), "$domain", domain), "$selector", name);
        rules.push_back({{Authors::Kind::kDomain, domain}, domain, name, {file, {}}, given.place});
        if (organizational) rules.push_back({{Authors::Kind::kBelow, domain}, domain, name, {file, {}}, given.place});
      }
    }
    if (rules.empty()) {
      return MakeError(Reason::kInvalidArgument,
                       path_ + ": no domain has a key: neither domain { }, nor a map, nor a file like " + path);
    }
    // Each selector of a domain's block makes a signature.
    AddRules(rules, true, plan_);
    return Ok();
  }

  static void AddBlock(const Ucl& block, std::vector<Selector>& out) {
    const auto text = [](const Ucl& in, const std::string& name) {
      const Ucl* value = in.Find(name);
      return value == nullptr ? std::string() : value->text;
    };
    if (block.Find("selector") != nullptr || block.Find("path") != nullptr) {
      out.push_back({text(block, "selector"), text(block, "path"), block.place});
    }
    const Ucl* selectors = block.Find("selectors");
    if (selectors == nullptr) return;
    for (const Ucl& item : selectors->items) out.push_back({text(item, "selector"), text(item, "path"), item.place});
  }

  Status AddMaps(std::map<std::string, std::vector<Selector>>& domains) {
    for (const char* name : {"selector_map", "path_map"}) {
      const Ucl* value = Get(name);
      if (value == nullptr) continue;
      const auto map = ReadMap(*value);
      if (!map) return map.error();
      for (const Entry& entry : *map) {
        auto& selectors = domains[Lower(entry.key)];
        if (selectors.empty()) selectors.push_back({"", "", entry.place});
        for (Selector& selector : selectors) {
          std::string& member = std::string_view(name) == "path_map" ? selector.path : selector.selector;
          if (member.empty()) member = entry.value;
        }
      }
    }
    return Ok();
  }

  // rspamd signs for every domain whose key is where the pattern says: these are found in the folder.
  Status AddFiles(std::map<std::string, std::vector<Selector>>& domains) {
    const Ucl* given = Get("path");
    const Place place = given == nullptr ? Place{path_, 0} : given->place;
    const std::string path = Replace(Expand(Text("path", kKeyPath)), "$selector", Text("selector", kSelector));
    const std::size_t slash = path.rfind('/'), domain = path.find("$domain");
    if (slash == std::string::npos || domain == std::string::npos) return Ok();
    if (domain < slash) {
      Add(Note::Kind::kLost, place,
          "path has $domain in a folder's name: keys are found there for the domains that "
          "domain { } or a map names only");
      return Ok();
    }
    const auto names = files_.list(path.substr(0, slash));
    if (!names && names.error().reason == Reason::kNotFound) return Ok();  // no folder, no keys
    if (!names) return MakeError(names.error().reason, names.error().message + "; rspamd signs with the keys in it");
    const std::string before = path.substr(slash + 1, domain - slash - 1);
    const std::string after = path.substr(domain + std::string_view("$domain").size());
    for (const std::string& name : *names) {
      if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after)) continue;
      const std::string found = Lower(name.substr(before.size(), name.size() - before.size() - after.size()));
      if (!dkim::NormalizeDomain(found) || domains.contains(found)) continue;
      domains[found].push_back({"", "", place});
    }
    return Ok();
  }

  const std::string path_;
  const Files& files_;
  bool folder_ = false;
  Ucl signing_;
  Plan plan_;
};

}  // namespace

Result<Plan> PlanFromRspamd(const std::string& path, const Files& files) { return Rspamd(path, files).MakePlan(); }

}  // namespace hallmark::migration
