#include "signerd/policy/policy_file.h"

#include <map>
#include <set>

#include "firmware/runtime/config.h"
#include "firmware/runtime/identity.h"
#include "firmware/runtime/time_text.h"
#include "signerd/policy/policy_convert.h"
#include "signerd/snapshot/rules.h"

namespace hallmark::policy {
namespace {

namespace admin = hallmark::admin::v1;

constexpr std::string_view kStates = "\"active\", \"suspended\" or \"revoked\"";
constexpr std::string_view kRelayStates = "\"active\" or \"revoked\"";
constexpr std::string_view kAlignments = "\"strict\", \"relaxed\" or \"off\"";
constexpr std::string_view kPartners = "a list of names of partners";

template <class Value>
using Names = std::map<std::string_view, Value>;

const Names<admin::PartnerState> kPartnerStates = {{"active", admin::PARTNER_STATE_ACTIVE},
                                                   {"suspended", admin::PARTNER_STATE_SUSPENDED},
                                                   {"revoked", admin::PARTNER_STATE_REVOKED}};
const Names<admin::RelayState> kRelayStateNames = {{"active", admin::RELAY_STATE_ACTIVE},
                                                   {"revoked", admin::RELAY_STATE_REVOKED}};
const Names<admin::Alignment> kAlignmentNames = {
    {"strict", admin::ALIGNMENT_STRICT}, {"relaxed", admin::ALIGNMENT_RELAXED}, {"off", admin::ALIGNMENT_OFF}};

// An optional word out of a list; `fallback` where there is none.
template <class Value>
Value ReadWord(ConfigTable& table, const char* key, const Names<Value>& names, std::string_view expected,
               Value fallback) {
  const std::string word = table.String(key, expected, "");
  if (word.empty()) return fallback;
  const auto found = names.find(word);
  if (found != names.end()) return found->second;
  table.Reject(key, "found \"" + word + "\"", expected);
  return fallback;
}

std::string ReadName(ConfigTable& table) {
  std::string name = table.String("name", kNameForm);
  if (!name.empty() && !IsName(name)) table.Reject("name", "found \"" + name + "\"", kNameForm);
  return name;
}

using Strings = google::protobuf::RepeatedPtrField<std::string>;

void CheckCount(ConfigTable& table, const char* key, std::size_t count, std::size_t most) {
  if (count > most) table.Reject(key, "found " + std::to_string(count), AtMost(most));
}

void ReadDomains(ConfigTable& table, const char* key, Strings* to) {
  const std::vector<std::string> rules = table.Strings(key, kDomainsForm);
  const auto parsed = snapshot::DomainRules::Parse(rules);
  if (!parsed) table.Reject(key, parsed.error().message, kDomainsForm);
  CheckCount(table, key, rules.size(), kMostDomains);
  to->Assign(rules.begin(), rules.end());
}

void ReadAddresses(ConfigTable& table, Strings* to) {
  for (const std::string& text : table.OptionalStrings("addresses", kAddressesForm)) {
    const auto pattern = snapshot::AddressPattern::Parse(text);
    if (!pattern) table.Reject("addresses", pattern.error().message, kAddressesForm);
    *to->Add() = text;
  }
  CheckCount(table, "addresses", static_cast<std::size_t>(to->size()), kMostAddresses);
}

void ReadMessageRules(ConfigTable& table, admin::MessageRules& rules) {
  rules.set_forbid_bcc(table.Flag("forbid_bcc", false));
  rules.set_require_date(table.Flag("require_date", false));
  rules.set_require_message_id(table.Flag("require_message_id", false));
  rules.set_max_octets(static_cast<std::uint64_t>(table.Integer("max_octets", 0, 0, kMostCount)));
}

void ReadQuota(ConfigTable& table, admin::Quota& quota) {
  quota.set_rate_per_second(static_cast<std::uint32_t>(table.Integer("rate_per_second", 0, 0, kMostRate)));
  quota.set_burst(static_cast<std::uint32_t>(table.Integer("burst", 0, 0, kMostRate)));
  if (quota.burst() != 0 && quota.rate_per_second() == 0) {
    table.Reject("burst", "there is no rate_per_second", "both or none");
  }
  const auto count = [&](const char* key) { return static_cast<std::uint64_t>(table.Integer(key, 0, 0, kMostCount)); };
  quota.set_messages_per_day(count("messages_per_day"));
  quota.set_recipients_per_message(count("recipients_per_message"));
  quota.set_recipients_per_day(count("recipients_per_day"));
}

void ReadWatch(ConfigTable& table, admin::WatchSettings& watch) {
  for (const std::string& kind : table.OptionalStrings("suspend_on", kSuspendOnForm)) {
    if (!IsAlertKind(kind)) table.Reject("suspend_on", "found \"" + kind + "\"", kSuspendOnForm);
    watch.add_suspend_on(kind);
  }
  watch.set_hard_limit_per_minute(table.Integer("hard_limit_per_minute", 0, 0, kMostCount));
}

std::optional<std::chrono::sys_seconds> ReadTime(ConfigTable& table, const char* key) {
  const auto time = table.Time(key);
  if (time && !IsTime(*time)) table.Reject(key, "found " + TimeText(*time), kTimeForm);
  return time;
}

void ReadDates(ConfigTable& table, admin::Partner& partner) {
  const auto not_before = ReadTime(table, "not_before");
  const auto not_after = ReadTime(table, "not_after");
  if (not_before) partner.mutable_not_before()->set_seconds(not_before->time_since_epoch().count());
  if (not_after) partner.mutable_not_after()->set_seconds(not_after->time_since_epoch().count());
  if (not_before && not_after && *not_after <= *not_before) {
    table.Reject("not_after", "not after not_before", "a later time");
  }
}

admin::Partner ReadPartner(ConfigTable& table) {
  admin::Partner partner;
  partner.set_name(ReadName(table));
  partner.set_state(ReadWord(table, "state", kPartnerStates, kStates, admin::PARTNER_STATE_UNSPECIFIED));
  if (partner.name() == snapshot::kOwn && partner.state() == admin::PARTNER_STATE_REVOKED) {
    table.Reject("state", "own cannot be revoked", "\"active\" or \"suspended\"");
  }
  ReadDomains(table, "author_domains", partner.mutable_author_domains());
  ReadDomains(table, "signing_domains", partner.mutable_signing_domains());
  ReadAddresses(table, partner.mutable_addresses());
  partner.set_alignment(ReadWord(table, "alignment", kAlignmentNames, kAlignments, admin::ALIGNMENT_RELAXED));
  ReadDates(table, partner);
  partner.set_weight(static_cast<std::int32_t>(table.Integer("weight", 1, 1, kMostWeight)));
  if (auto message = table.OptionalTable("message")) ReadMessageRules(*message, *partner.mutable_message());
  if (auto quota = table.OptionalTable("quota")) ReadQuota(*quota, *partner.mutable_quota());
  if (auto watch = table.OptionalTable("watch")) ReadWatch(*watch, *partner.mutable_watch());
  return partner;
}

admin::Relay ReadRelay(ConfigTable& table, const std::set<std::string>& partners) {
  admin::Relay relay;
  relay.set_name(ReadName(table));
  relay.set_identity(table.String("identity", kIdentityForm));
  if (!relay.identity().empty() && !IsIdentity(relay.identity())) {
    table.Reject("identity", "found \"" + relay.identity() + "\"", kIdentityForm);
  }
  for (const std::string& partner : table.Strings("partners", kPartners)) {
    if (!partners.contains(partner)) table.Reject("partners", "there is no partner \"" + partner + "\"", kPartners);
    relay.add_partners(partner);
  }
  relay.set_state(ReadWord(table, "state", kRelayStateNames, kRelayStates, admin::RELAY_STATE_UNSPECIFIED));
  return relay;
}

void RejectRepeated(ConfigTable& table, const char* key, const std::string& value, std::set<std::string>& seen) {
  if (value.empty() || seen.insert(value).second) return;
  table.Reject(key, "\"" + value + "\" is used twice", "a different one for each");
}

// A TOML basic string.
std::string Quote(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += std::string("\\u00") + kHex[static_cast<unsigned char>(c) >> 4] + kHex[c & 0x0f];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// Writes keys with their values. What is as by default is left out.
class Writer {
 public:
  void Text(const char* key, const std::string& value) { Line(key, Quote(value)); }
  // On one line while that is short, so that a difference of two files shows the rule that changed.
  void List(const char* key, const Strings& values) {
    if (values.empty()) return;
    std::string line, lines;
    for (const std::string& value : values) {
      line += (line.empty() ? "" : ", ") + Quote(value);
      lines += "  " + Quote(value) + ",\n";
    }
    constexpr std::size_t kLine = 80;
    Line(key, line.size() < kLine ? "[" + line + "]" : "[\n" + lines + "]");
  }
  template <class Value>
  void Word(const char* key, const Names<Value>& names, Value value) {
    for (const auto& [name, known] : names) {
      if (known == value) Text(key, std::string(name));
    }
  }
  template <class Number>
  void Count(const char* key, Number value) {
    if (value != 0) Line(key, std::to_string(value));
  }
  void Flag(const char* key, bool value) {
    if (value) Line(key, "true");
  }
  void Time(const char* key, bool has, const google::protobuf::Timestamp& time) {
    if (!has) return;
    Line(key, TimeText(std::chrono::sys_seconds(std::chrono::seconds(time.seconds()))));
  }
  // The lines of a table, under its heading where there are any.
  void Table(const std::string& heading, const Writer& inner) {
    if (!inner.text_.empty()) text_ += heading + "\n" + inner.text_;
  }
  void Heading(const std::string& heading) { text_ += "\n" + heading + "\n"; }
  const std::string& text() const { return text_; }

 private:
  void Line(const char* key, const std::string& value) { text_ += std::string(key) + " = " + value + "\n"; }
  std::string text_;
};

void WritePartner(const admin::Partner& partner, Writer& out) {
  out.Heading("[[partner]]");
  out.Text("name", partner.name());
  if (partner.state() != admin::PARTNER_STATE_ACTIVE) out.Word("state", kPartnerStates, partner.state());
  out.List("author_domains", partner.author_domains());
  out.List("signing_domains", partner.signing_domains());
  out.List("addresses", partner.addresses());
  out.Word("alignment", kAlignmentNames, partner.alignment());
  out.Time("not_before", partner.has_not_before(), partner.not_before());
  out.Time("not_after", partner.has_not_after(), partner.not_after());
  if (partner.weight() > 1) out.Count("weight", partner.weight());
  Writer message, quota, watch;
  message.Flag("forbid_bcc", partner.message().forbid_bcc());
  message.Flag("require_date", partner.message().require_date());
  message.Flag("require_message_id", partner.message().require_message_id());
  message.Count("max_octets", partner.message().max_octets());
  quota.Count("rate_per_second", partner.quota().rate_per_second());
  quota.Count("burst", partner.quota().burst());
  quota.Count("messages_per_day", partner.quota().messages_per_day());
  quota.Count("recipients_per_message", partner.quota().recipients_per_message());
  quota.Count("recipients_per_day", partner.quota().recipients_per_day());
  watch.List("suspend_on", partner.watch().suspend_on());
  watch.Count("hard_limit_per_minute", partner.watch().hard_limit_per_minute());
  out.Table("[partner.message]", message);
  out.Table("[partner.quota]", quota);
  out.Table("[partner.watch]", watch);
}

void WriteRelay(const admin::Relay& relay, Writer& out) {
  out.Heading("[[relay]]");
  out.Text("name", relay.name());
  out.Text("identity", relay.identity());
  out.List("partners", relay.partners());
  if (relay.state() == admin::RELAY_STATE_REVOKED) out.Word("state", kRelayStateNames, relay.state());
}

}  // namespace

Result<admin::Policy> LoadPolicy(const std::filesystem::path& path) {
  auto file = ConfigFile::Load(path);
  if (!file) return file.error();
  ConfigTable root = (*file)->root();
  admin::Policy policy;
  std::set<std::string> names, relay_names, identities;
  for (ConfigTable& table : root.Tables("partner")) {
    *policy.add_partners() = ReadPartner(table);
    RejectRepeated(table, "name", policy.partners().rbegin()->name(), names);
  }
  if (policy.partners_size() > 0 && !names.contains(std::string(snapshot::kOwn))) {
    root.Reject("partner", "there is no partner \"own\"", "one [[partner]] with that name: the organisation itself");
  }
  for (ConfigTable& table : root.OptionalTables("relay")) {
    *policy.add_relays() = ReadRelay(table, names);
    RejectRepeated(table, "name", policy.relays().rbegin()->name(), relay_names);
    RejectRepeated(table, "identity", NormalIdentity(policy.relays().rbegin()->identity()), identities);
  }
  const Status finished = (*file)->Finish();
  if (!finished) return finished.error();
  return policy;
}

std::string PolicyText(const admin::Policy& policy) {
  Writer out;
  for (const admin::Partner& partner : policy.partners()) WritePartner(partner, out);
  for (const admin::Relay& relay : policy.relays()) WriteRelay(relay, out);
  return "# Who may sign what. Put in force with: dkimctl apply -f FILE\n" + out.text();
}

}  // namespace hallmark::policy
