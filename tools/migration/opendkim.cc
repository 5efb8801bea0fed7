#include "tools/migration/opendkim.h"

#include <algorithm>
#include <charconv>

#include "tools/migration/opendkim_files.h"
#include "tools/migration/tables.h"

namespace hallmark::migration {
namespace {

constexpr int kDeepestInclude = 5;  // opendkim.conf(5)
constexpr std::chrono::seconds kShortestExpiry{3600};

// What libopendkim 2.11 signs where SignHeaders says nothing, and never signs where OmitHeaders says nothing.
const std::vector<std::string> kSigned = {
    "From",        "Reply-To",         "Subject",        "Date",      "To",          "Cc",          "Resent-Date",
    "Resent-From", "Resent-Sender",    "Resent-To",      "Resent-Cc", "In-Reply-To", "References",  "List-Id",
    "List-Help",   "List-Unsubscribe", "List-Subscribe", "List-Post", "List-Owner",  "List-Archive"};
const std::vector<std::string> kOmitted = {"Return-Path", "Received",   "Comments",      "Keywords",
                                           "Bcc",         "Resent-Bcc", "DKIM-Signature"};

// Settings that decide what is signed or for whom, and that Hallmark does otherwise.
struct Unlike {
  const char* name;
  const char* why;
};
constexpr Unlike kUnlike[] = {
    {"BodyLengthDB", "l= is not carried over: it lets anyone append to the message"},
    {"MaximumSignedBytes", "l= is not carried over: it lets anyone append to the message"},
    {"MacroList", "what is signed is decided by the relay's certificate, not by macros of the mail server"},
    {"MTA", "what is signed is decided by the relay's certificate, not by the name of the mail server"},
    {"ResignMailTo", "Hallmark signs what relays send it"},
    {"ResignAll", "Hallmark signs what relays send it"},
    {"DontSignMailTo", "Hallmark signs for every recipient"},
    {"ExemptDomains", "leave these domains out of the policy's author_domains"},
    {"SenderHeaders", "Hallmark takes the author from the From field only"},
    {"SetupPolicyScript", "Lua scripts have no counterpart"},
    {"ScreenPolicyScript", "Lua scripts have no counterpart"},
    {"FinalPolicyScript", "Lua scripts have no counterpart"},
    {"ReplaceRules", "Hallmark signs the message as it is"},
    {"ReplaceHeaders", "Hallmark signs the message as it is"},
    {"RemoveOldSignatures", "Hallmark takes no signature off a message"},
    {"RequestReports", "r= is not written"},
    {"SelectCanonicalizationHeader", "a field of the message does not choose its canonicalization"},
    {"StrictHeaders", "partners' `message` rules in the policy say what a header must have"},
    {"POPDBFile", "relays have certificates instead"},
    {"VBR-Type", "vouching is not asked for"},
    {"Socket", "relays call Hallmark's gRPC API instead of the milter's socket"},
};

class OpenDkim {
 public:
  explicit OpenDkim(const Files& files) : files_(files) {}

  Status Read(const std::string& conf, int depth = 0) {
    const auto text = files_.read(conf);
    if (!text) return text.error();
    auto settings = ParseOpenDkimConf(*text, conf);
    if (!settings) return settings.error();
    for (Setting& setting : *settings) {
      if (Lower(setting.name) != "include") {
        settings_[Lower(setting.name)] = std::move(setting);  // the last one counts
        continue;
      }
      if (depth == kDeepestInclude) {
        return MakeError(Reason::kInvalidArgument, setting.place.Text() + ": Include is nested too deep");
      }
      plan_.notes.push_back({Note::Kind::kRead, setting.place, setting.value});
      const Status read = Read(setting.value, depth + 1);
      if (!read) return read;
    }
    return Ok();
  }

  Result<Plan> MakePlan() {
    Status done = CheckMode();
    if (done) done = ReadProfile();
    if (done) done = ReadSenders();
    if (done) done = Find("KeyTable") != nullptr ? ReadTables() : ReadDomains();
    if (!done) return done.error();
    for (const Unlike& unlike : kUnlike) {
      const Setting* setting = Find(unlike.name);
      if (setting != nullptr) Lost(*setting, unlike.why);
    }
    return std::move(plan_);
  }

 private:
  const Setting* Find(const std::string& name) const {
    const auto found = settings_.find(Lower(name));
    return found == settings_.end() ? nullptr : &found->second;
  }
  bool Yes(const std::string& name) const {
    const Setting* setting = Find(name);
    return setting != nullptr && ParseYesNo(setting->value).value_or(false);
  }
  void Lost(const Setting& setting, const std::string& why) {
    plan_.notes.push_back({Note::Kind::kLost, setting.place, setting.name + ": " + why});
  }
  static Error Wrong(const Place& place, const std::string& what) {
    return MakeError(Reason::kInvalidArgument, place.Text() + ": " + what);
  }
  // Says which file is read, unless the setting is a list.
  Result<DataSet> Read(const Setting& setting) {
    auto set = ReadDataSet(setting, files_);
    if (set && !set->entries.empty() && set->entries.front().place.file != setting.place.file) {
      plan_.notes.push_back({Note::Kind::kRead, setting.place, set->entries.front().place.file});
    }
    return set;
  }

  Status CheckMode() {
    const Setting* mode = Find("Mode");
    if (mode != nullptr && mode->value.find('s') == std::string::npos) {
      return Wrong(mode->place, "Mode is \"" + mode->value + "\": this OpenDKIM signs nothing");
    }
    return Ok();
  }

  Status ReadProfile() {
    dkim::SigningProfile& profile = plan_.profile;
    profile.name = "opendkim";
    Status done = ReadCanonicalization();
    if (done) done = ReadFieldList("SignHeaders", kSigned, profile.signed_fields);
    if (done) done = ReadFieldList("OmitHeaders", kOmitted, profile.excluded_fields);
    if (done) done = ReadFieldList("OversignHeaders", {}, profile.oversigned_fields);
    if (!done) return done;
    // Empty lists would stand for the built-in ones.
    if (profile.excluded_fields.empty()) profile.excluded_fields = {"DKIM-Signature"};
    if (profile.oversigned_fields.empty()) profile.oversigned_fields = {profile.excluded_fields.front()};
    profile.copied_fields = Yes("Diagnostics");
    const Setting* algorithm = Find("SignatureAlgorithm");
    if (algorithm != nullptr && Lower(algorithm->value) == "rsa-sha1") {
      Lost(*algorithm, "rsa-sha1 proves nothing any more (RFC 8301): Hallmark signs with rsa-sha256");
    }
    return ReadExpiry();
  }

  Status ReadExpiry() {
    const Setting* expiry = Find("SignatureTTL");
    if (expiry == nullptr) return Ok();
    long seconds = 0;
    const char* end = expiry->value.data() + expiry->value.size();
    const auto [at, error] = std::from_chars(expiry->value.data(), end, seconds);
    if (error != std::errc() || at != end || seconds < 0) return Wrong(expiry->place, "SignatureTTL is no number");
    if (seconds == 0) return Ok();
    if (std::chrono::seconds(seconds) < kShortestExpiry) {
      Lost(*expiry, "mail waits in queues for days, so Hallmark writes no x= within the hour");
    } else {
      plan_.profile.expires_after = std::chrono::seconds(seconds);
    }
    return Ok();
  }

  // opendkim.conf(5): simple where nothing is said, of the body too.
  Status ReadCanonicalization() {
    plan_.profile.header = plan_.profile.body = dkim::Canonicalization::kSimple;
    const Setting* setting = Find("Canonicalization");
    if (setting == nullptr) return Ok();
    const std::string value = Lower(setting->value);
    const std::size_t slash = value.find('/');
    const auto parse = [&](const std::string& name, dkim::Canonicalization& out) -> Status {
      if (name != "simple" && name != "relaxed") {
        return Wrong(setting->place, "Canonicalization is \"" + setting->value + "\": expected simple or relaxed");
      }
      out = name == "simple" ? dkim::Canonicalization::kSimple : dkim::Canonicalization::kRelaxed;
      return Ok();
    };
    const Status header = parse(value.substr(0, slash), plan_.profile.header);
    if (!header || slash == std::string::npos) return header;
    return parse(value.substr(slash + 1), plan_.profile.body);
  }

  // A list of field names, or a change of the default: "*,+X-Foo,-Bcc".
  Status ReadFieldList(const std::string& name, const std::vector<std::string>& standard,
                       std::vector<std::string>& out) {
    out = standard;
    const Setting* setting = Find(name);
    if (setting == nullptr) return Ok();
    const auto set = Read(*setting);
    if (!set) return set.error();
    const bool change =
        std::any_of(set->entries.begin(), set->entries.end(), [](const Entry& entry) { return entry.key == "*"; });
    if (!change) out.clear();
    for (const Entry& entry : set->entries) {
      std::string field = entry.key;
      if (field == "*" || field == ".") continue;  // "." matches no field
      const bool remove = change && field.starts_with('-');
      if (change && (field.starts_with('+') || remove)) field.erase(0, 1);
      if (field.find('*') != std::string::npos) {
        plan_.notes.push_back({Note::Kind::kLost, entry.place,
                               name + ": \"" + field + "\" stands for several fields; name each in the profile"});
        continue;
      }
      std::erase_if(out, [&](const std::string& known) { return Lower(known) == Lower(field); });
      if (!remove) out.push_back(field);
    }
    return Ok();
  }

  Status ReadSenders() {
    const Setting* internal = Find("InternalHosts");
    if (internal == nullptr) plan_.senders = {"127.0.0.1"};  // opendkim.conf(5)
    for (const char* name : {"InternalHosts", "ExternalIgnoreList", "PeerList"}) {
      const Setting* setting = Find(name);
      if (setting == nullptr) continue;
      const auto set = Read(*setting);
      if (!set) return set.error();
      const bool signs = std::string(name) == "InternalHosts";
      if (!signs) Lost(*setting, "who may send is said by relays' certificates and the policy");
      for (const Entry& entry : set->entries) {
        if (signs && std::find(plan_.senders.begin(), plan_.senders.end(), entry.key) == plan_.senders.end()) {
          plan_.senders.push_back(entry.key);
        }
      }
    }
    return Ok();
  }

  // Domain, Selector and KeyFile: one key.
  Status ReadDomains() {
    const Setting *domain = Find("Domain"), *selector = Find("Selector"), *key_file = Find("KeyFile");
    if (domain == nullptr || selector == nullptr || key_file == nullptr) {
      return MakeError(Reason::kInvalidArgument,
                       "the configuration names no key: expected Domain, Selector and KeyFile, or KeyTable and "
                       "SigningTable");
    }
    const auto domains = Read(*domain);
    if (!domains) return domains.error();
    std::vector<SigningRule> rules;
    for (const Entry& entry : domains->entries) {
      if (entry.key.find('*') != std::string::npos) {
        plan_.notes.push_back(
            {Note::Kind::kLost, entry.place, "\"" + entry.key + "\" has a wildcard: name the domains"});
        continue;
      }
      SigningRule rule{
          {Authors::Kind::kDomain, Lower(entry.key)}, entry.key, selector->value, {key_file->value, {}}, entry.place};
      rules.push_back(rule);
      if (!Yes("SubDomains")) continue;
      rule.authors.kind = Authors::Kind::kBelow;
      rules.push_back(rule);
    }
    std::stable_sort(rules.begin(), rules.end(), &IsLookedUpBefore);
    AddRules(rules, false, plan_);
    return Ok();
  }

  Status ReadTables() {
    const Setting* signing = Find("SigningTable");
    if (signing == nullptr) return Wrong(Find("KeyTable")->place, "there is a KeyTable and no SigningTable");
    const auto keys = Read(*Find("KeyTable"));
    if (!keys) return keys.error();
    const auto table = Read(*signing);
    if (!table) return table.error();
    const auto rules = RulesFromTables(*table, *keys, PathDomain::kKeys, "", plan_.notes);
    if (!rules) return rules.error();
    AddRules(*rules, Yes("MultipleSignatures"), plan_);
    return Ok();
  }

  const Files& files_;
  std::map<std::string, Setting> settings_;  // by lower-case name
  Plan plan_;
};

}  // namespace

Result<Plan> PlanFromOpenDkim(const std::string& conf, const Files& files) {
  OpenDkim opendkim(files);
  const Status read = opendkim.Read(conf);
  if (!read) return read.error();
  return opendkim.MakePlan();
}

}  // namespace hallmark::migration
