#include "signerd/policy/policy_changes.h"

#include <algorithm>

#include "firmware/runtime/time_text.h"

namespace hallmark::policy {
namespace {

namespace admin = hallmark::admin::v1;

using snapshot::Partner;
using snapshot::Relay;

const char* NameOf(snapshot::PartnerState state) {
  switch (state) {
    case snapshot::PartnerState::kActive: return "active";
    case snapshot::PartnerState::kSuspended: return "suspended";
    case snapshot::PartnerState::kRevoked: break;
  }
  return "revoked";
}
const char* NameOf(snapshot::RelayState state) { return state == snapshot::RelayState::kActive ? "active" : "revoked"; }
const char* NameOf(snapshot::Alignment alignment) {
  switch (alignment) {
    case snapshot::Alignment::kStrict: return "strict";
    case snapshot::Alignment::kRelaxed: return "relaxed";
    case snapshot::Alignment::kOff: break;
  }
  return "off";
}
const char* NameOf(bool value) { return value ? "true" : "false"; }

std::string WeightOf(const Partner& partner) { return std::to_string(static_cast<int>(partner.weight)); }

std::string Limit(std::uint64_t number) { return number == 0 ? "no limit" : std::to_string(number); }

std::string DateText(const std::optional<std::chrono::sys_seconds>& time) { return time ? TimeText(*time) : "none"; }

// Collects what differs between two of one name.
class Comparison {
 public:
  Comparison(std::string what, Difference& difference) : difference_(difference) { change_.set_what(std::move(what)); }

  void Member(const std::string& name, const std::string& before, const std::string& after, bool widens) {
    if (before == after) return;
    change_.add_lines(name + ": " + before + " -> " + after);
    if (widens) change_.add_widens(change_.lines().rbegin()[0]);
  }
  void Raised(const std::string& name, std::uint64_t before, std::uint64_t after) {
    Member(name, Limit(before), Limit(after), before != 0 && (after == 0 || after > before));
  }
  // Two sets of texts. `widens` is asked for each that comes and each that goes.
  template <class Set, class Widens>
  void Entries(const std::string& name, const Set& before, const Set& after, Widens widens) {
    for (const std::string& entry : before) {
      if (!after.contains(entry)) Line(name + ": - " + entry, widens(entry, false));
    }
    for (const std::string& entry : after) {
      if (!before.contains(entry)) Line(name + ": + " + entry, widens(entry, true));
    }
  }
  void Line(const std::string& line, bool widens) {
    change_.add_lines(line);
    if (widens) change_.add_widens(line);
  }

  // Whether anything differed.
  bool End(admin::PolicyChange::Kind kind) {
    change_.set_kind(kind);
    if (kind == admin::PolicyChange::CHANGED && change_.lines().empty()) return false;
    difference_.changes.push_back(std::move(change_));
    return true;
  }

 private:
  Difference& difference_;
  admin::PolicyChange change_;
};

void CompareDomains(Comparison& comparison, const std::string& name, const snapshot::DomainRules& before,
                    const snapshot::DomainRules& after) {
  comparison.Entries(name, before.texts(), after.texts(),
                     [&](const std::string& rule, bool comes) { return comes && !before.Cover(rule); });
}

std::set<std::string> TextsOf(const std::vector<snapshot::AddressPattern>& patterns) {
  std::set<std::string> texts;
  for (const auto& pattern : patterns) texts.insert(pattern.text());
  return texts;
}

// No pattern at all is every address.
void CompareAddresses(Comparison& comparison, const Partner& before, const Partner& after) {
  const bool was_all = before.addresses.empty(), is_all = after.addresses.empty();
  comparison.Entries("addresses", TextsOf(before.addresses), TextsOf(after.addresses),
                     [&](const std::string&, bool comes) { return comes ? !was_all : is_all; });
}

// A time that bounds what is allowed from below (not_before) or from above (not_after).
void CompareDates(Comparison& comparison, const Partner& before, const Partner& after) {
  comparison.Member("not_before", DateText(before.not_before), DateText(after.not_before),
                    before.not_before && (!after.not_before || *after.not_before < *before.not_before));
  comparison.Member("not_after", DateText(before.not_after), DateText(after.not_after),
                    before.not_after && (!after.not_after || *after.not_after > *before.not_after));
}

void CompareQuotas(Comparison& comparison, const snapshot::Quota& before, const snapshot::Quota& after) {
  comparison.Raised("quota.rate_per_second", before.rate_per_second, after.rate_per_second);
  const auto burst = [](const snapshot::Quota& quota) {
    return quota.burst != 0 ? quota.burst : quota.rate_per_second;
  };
  const auto text = [](std::uint32_t number) { return number == 0 ? "as the rate" : std::to_string(number); };
  comparison.Member("quota.burst", text(before.burst), text(after.burst),
                    before.rate_per_second != 0 && burst(after) > burst(before));
  comparison.Raised("quota.messages_per_day", before.messages_per_day, after.messages_per_day);
  comparison.Raised("quota.recipients_per_message", before.recipients_per_message, after.recipients_per_message);
  comparison.Raised("quota.recipients_per_day", before.recipients_per_day, after.recipients_per_day);
}

void CompareMessageRules(Comparison& comparison, const snapshot::MessageRules& before,
                         const snapshot::MessageRules& after) {
  const auto flag = [&](const char* name, bool was, bool is) { comparison.Member(name, NameOf(was), NameOf(is), was); };
  flag("message.forbid_bcc", before.forbid_bcc, after.forbid_bcc);
  flag("message.require_date", before.require_date, after.require_date);
  flag("message.require_message_id", before.require_message_id, after.require_message_id);
  comparison.Raised("message.max_octets", before.max_octets, after.max_octets);
}

// Everything but the name. The watcher's settings and the weight give no right.
bool Compare(const Partner& before, const Partner& after, Difference& difference) {
  Comparison comparison("partner " + after.name, difference);
  comparison.Member("state", NameOf(before.state), NameOf(after.state),
                    before.state == snapshot::PartnerState::kRevoked);
  CompareDomains(comparison, "author_domains", before.author_domains, after.author_domains);
  CompareDomains(comparison, "signing_domains", before.signing_domains, after.signing_domains);
  CompareAddresses(comparison, before, after);
  comparison.Member("alignment", NameOf(before.alignment), NameOf(after.alignment), after.alignment > before.alignment);
  CompareDates(comparison, before, after);
  comparison.Member("weight", WeightOf(before), WeightOf(after), false);
  CompareMessageRules(comparison, before.message, after.message);
  CompareQuotas(comparison, before.quota, after.quota);
  comparison.Entries("watch.suspend_on", before.watch.suspend_on, after.watch.suspend_on,
                     [](const std::string&, bool) { return false; });
  comparison.Member("watch.hard_limit_per_minute",
                    Limit(static_cast<std::uint64_t>(before.watch.hard_limit_per_minute)),
                    Limit(static_cast<std::uint64_t>(after.watch.hard_limit_per_minute)), false);
  return comparison.End(admin::PolicyChange::CHANGED);
}

std::set<std::string> InOrder(const snapshot::NameSet& names) { return {names.begin(), names.end()}; }

bool Compare(const Relay& before, const Relay& after, Difference& difference) {
  Comparison comparison("relay " + after.name, difference);
  comparison.Member("state", NameOf(before.state), NameOf(after.state), before.state == snapshot::RelayState::kRevoked);
  comparison.Member("identity", before.identity, after.identity, true);
  comparison.Entries("partners", before.partners, after.partners, [](const std::string&, bool comes) { return comes; });
  return comparison.End(admin::PolicyChange::CHANGED);
}

template <class Set>
std::string Join(const Set& set) {
  std::string text;
  for (const std::string& entry : set) text += (text.empty() ? "" : ", ") + entry;
  return text;
}

// "at most 1000 messages a day", "any number of messages a day".
std::string Bound(std::uint64_t limit, const char* what) {
  return (limit == 0 ? "any number of " : "at most " + std::to_string(limit) + " ") + what;
}

std::string BoundsOf(const snapshot::Quota& quota, std::uint64_t octets) {
  std::string text = Bound(quota.rate_per_second, "messages a second");
  if (quota.rate_per_second != 0) {
    text += ", " + std::to_string(quota.burst != 0 ? quota.burst : quota.rate_per_second) + " at once";
  }
  return text + ", " + Bound(quota.messages_per_day, "messages a day") + ", " +
         Bound(quota.recipients_per_message, "recipients a message") + ", " +
         Bound(quota.recipients_per_day, "recipients a day") + ", " + Bound(octets, "octets a message");
}

std::string FormOf(const snapshot::MessageRules& rules) {
  return std::string(rules.forbid_bcc ? "without Bcc" : "Bcc allowed") +
         (rules.require_date ? ", with Date" : ", Date not required") +
         (rules.require_message_id ? ", with Message-ID" : ", Message-ID not required");
}

std::string WatchOf(const snapshot::WatchSettings& watch) {
  const std::string text =
      watch.suspend_on.empty() ? "never suspended by itself" : "suspended by itself on " + Join(watch.suspend_on);
  if (watch.hard_limit_per_minute == 0) return text + ", no hard limit of messages a minute";
  return text + ", hard limit of " + std::to_string(watch.hard_limit_per_minute) + " messages a minute";
}

// All that bounds a new partner, and what does not: the person who approves it sees nothing else of it.
std::string RightsOf(const Partner& partner) {
  std::string text = partner.state == snapshot::PartnerState::kActive ? "" : std::string(NameOf(partner.state)) + ", ";
  text +=
      "sends with " + Join(partner.author_domains.texts()) + ", signed for " + Join(partner.signing_domains.texts());
  text += partner.addresses.empty() ? ", from any address" : ", only from " + Join(TextsOf(partner.addresses));
  text += std::string(", alignment ") + NameOf(partner.alignment);
  if (partner.not_before) text += ", valid from " + DateText(partner.not_before);
  text += partner.not_after ? ", until " + DateText(partner.not_after) : ", without end";
  text += ", " + BoundsOf(partner.quota, partner.message.max_octets) + ", " + FormOf(partner.message);
  return text + ", weight " + WeightOf(partner) + ", " + WatchOf(partner.watch);
}
std::string RightsOf(const Relay& relay) { return relay.identity + " speaks for " + Join(InOrder(relay.partners)); }

template <class T>
void CompareAll(const std::string& kind, const std::map<std::string, T>& from, const std::map<std::string, T>& to,
                Difference& difference, std::vector<T>& put, std::vector<std::string>& removed) {
  for (const auto& [name, entry] : from) {
    if (to.contains(name)) continue;
    Comparison comparison(kind + " " + name, difference);
    comparison.End(admin::PolicyChange::REMOVED);
    removed.push_back(name);
  }
  for (const auto& [name, entry] : to) {
    const auto before = from.find(name);
    if (before != from.end()) {
      if (before->second != entry && Compare(before->second, entry, difference)) put.push_back(entry);
      continue;
    }
    Comparison comparison(kind + " " + name, difference);
    comparison.Line(RightsOf(entry), true);
    comparison.End(admin::PolicyChange::ADDED);
    put.push_back(entry);
  }
}

// A partner may be taken out and put in under another name, with other bounds: who approves the one is to see the
// other. Told once, behind the last that is new.
void TellOfRemoved(Difference& difference) {
  const std::vector<std::string>& removed = difference.edit.removed_partners;
  const auto added = std::find_if(difference.changes.rbegin(), difference.changes.rend(),
                                  [](const auto& change) { return change.kind() == admin::PolicyChange::ADDED; });
  if (removed.empty() || added == difference.changes.rend()) return;
  const std::string line =
      added->lines(0) + "; the same file removes partner" + (removed.size() > 1 ? "s " : " ") + Join(removed);
  added->set_lines(0, line);
  added->set_widens(0, line);
}

}  // namespace

std::vector<std::string> Difference::Sentences() const {
  std::vector<std::string> sentences;
  for (const admin::PolicyChange& change : changes) {
    const std::string what = change.what() + (change.kind() == admin::PolicyChange::ADDED ? ": added: " : ": ");
    if (change.kind() == admin::PolicyChange::REMOVED) sentences.push_back(what + "removed");
    for (const std::string& line : change.lines()) sentences.push_back(what + line);
  }
  return sentences;
}

std::string Difference::Widening() const {
  std::string text;
  for (const admin::PolicyChange& change : changes) {
    for (const std::string& line : change.widens()) {
      text += (text.empty() ? "" : "; ") + change.what() + ": " + line;
    }
  }
  return text;
}

Difference FindDifference(const snapshot::Policy& from, const snapshot::Policy& to) {
  Difference difference;
  CompareAll("partner", from.partners, to.partners, difference, difference.edit.put_partners,
             difference.edit.removed_partners);
  TellOfRemoved(difference);
  CompareAll("relay", from.relays, to.relays, difference, difference.edit.put_relays, difference.edit.removed_relays);
  return difference;
}

}  // namespace hallmark::policy
