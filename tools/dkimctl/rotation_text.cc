#include "tools/dkimctl/rotation_text.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "signerd/dkim/key_record.h"
#include "tools/dkimctl/command.h"
#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;

constexpr std::pair<char, std::int64_t> kUnits[] = {{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}};
constexpr std::size_t kIndent = 2;

// Wrapped and indented, with a final line end.
std::string Paragraph(const std::string& text) {
  std::string out;
  for (const std::string& line : Wrap(OneLine(text), Table::kColumns - kIndent)) {
    out += std::string(kIndent, ' ') + line + "\n";
  }
  return out;
}

std::string NextLine(const api::Rotation& rotation) {
  if (rotation.next().empty()) {
    return rotation.paused() ? rotation.waits_for()
           : rotation.keys().empty()
               ? "nothing: it has no keys; make the first with: dkimctl key rotate " + rotation.domain()
               : "nothing";
  }
  std::string text = rotation.next();
  if (rotation.has_next_time()) text += ", due " + TimeText(rotation.next_time());
  if (!rotation.waits_for().empty()) text += " (" + rotation.waits_for() + ")";
  return text;
}

std::string KeyTable(const api::Rotation& rotation) {
  Table table({"SELECTOR", "ALGORITHM", "STATE", "RECORD", "NEXT", "DUE"});
  for (const auto& progress : rotation.keys()) {
    const api::Key& key = progress.key();
    table.Add({key.selector(), NameOf(key.algorithm()), NameOf(key.state()), NameOf(key.record_state()),
               progress.next_state() == api::KEY_STATE_UNSPECIFIED ? "" : NameOf(progress.next_state()),
               TimeText(progress.next_time())});
  }
  return table.Render();
}

// What an operator who publishes by hand has to do for this key now.
std::string ManualWork(const api::Rotation& rotation, const api::KeyProgress& progress) {
  const api::Key& key = progress.key();
  const std::string line = progress.record_name() + ". " + std::to_string(rotation.policy().record_ttl_seconds()) +
                           " IN TXT " + dkim::ZoneFileTxt(progress.record_value()) + "\n";
  std::string text;
  if (key.state() == api::KEY_STATE_PUBLISHED && !progress.has_visible_since()) text = "add to DNS:\n" + line;
  if (key.state() == api::KEY_STATE_REVOKED && key.record_state() != api::RECORD_STATE_VISIBLE) {
    text = "change in DNS:\n" + line;
  }
  if (key.state() == api::KEY_STATE_WITHDRAWN && key.record_state() != api::RECORD_STATE_ABSENT) {
    text = "remove from DNS:\n" + progress.record_name() + ".\n";
  }
  return text;
}

// What has to be done in the domain's own zone, where its keys are kept in another: with any publisher.
std::string AliasWork(const api::KeyProgress& progress) {
  const api::Key& key = progress.key();
  const std::string name = key.selector() + "._domainkey." + key.domain();
  if (progress.record_name() == name) return "";
  // Whether it still is there is not seen: no server is asked for the alias alone.
  if (key.state() == api::KEY_STATE_WITHDRAWN) return "remove from DNS, where there is no DNAME:\n" + name + ".\n";
  const bool made_by_hand = key.state() == api::KEY_STATE_GENERATED;
  if ((key.state() != api::KEY_STATE_PUBLISHED && !made_by_hand) || progress.has_visible_since()) return "";
  return "the domain's own zone needs, where it has no DNAME:\n" + name + ". IN CNAME " + progress.record_name() +
         ".\n";
}

std::string Servers(const api::Rotation& rotation) {
  Table table({"SELECTOR", "SERVER", "SAYS", "DETAIL"});
  for (const auto& progress : rotation.keys()) {
    for (const auto& server : progress.servers()) {
      const bool expected = server.says() == "expected";
      table.Add({progress.key().selector(), server.server(), server.says(), expected ? "" : server.detail()});
    }
  }
  return table.empty() ? "" : "\n" + table.Render();
}

}  // namespace

std::string RotationText(const api::Rotation& rotation) {
  std::string text = rotation.domain() +
                     (rotation.paused()      ? ": paused"
                      : rotation.under_way() ? ": a rotation is under way"
                                             : "") +
                     (rotation.compromised() ? ", keys are compromised" : "") + "\n";
  text += Paragraph("next: " + NextLine(rotation));
  if (!rotation.trouble().empty()) {
    text += Paragraph("trouble since " + TimeText(rotation.trouble_since()) + ": " + rotation.trouble());
  }
  if (rotation.policy().backup_waiver().empty()) {
    text += Paragraph("backup: none, and nobody has waived it (dkimctl key policy set --waive-backup REASON)");
  } else {
    text += Paragraph("backup: waived by " + rotation.policy().backup_waived_by() + ": " +
                      rotation.policy().backup_waiver());
  }
  if (rotation.keys().empty()) return text;
  text += "\n" + KeyTable(rotation) + Servers(rotation);
  for (const auto& progress : rotation.keys()) {
    const bool manual = rotation.policy().publisher() == "manual";
    const std::string work = (manual ? ManualWork(rotation, progress) : std::string()) + AliasWork(progress);
    if (!work.empty()) text += "\n" + work;
  }
  return text;
}

std::string RotationsText(const api::ListRotationsResponse& answer) {
  Table table({"DOMAIN", "SIGNS WITH", "NEXT", "DUE"});
  for (const auto& rotation : answer.rotations()) {
    std::string signing;
    for (const auto& progress : rotation.keys()) {
      if (progress.key().state() != api::KEY_STATE_ACTIVE) continue;
      signing += (signing.empty() ? "" : ", ") + progress.key().selector();
    }
    const std::string next = rotation.paused() ? "paused" : rotation.next();
    table.Add({rotation.domain(), signing, rotation.trouble().empty() ? next : "trouble: " + rotation.trouble(),
               TimeText(rotation.next_time())});
  }
  return table.empty() ? "no domains\n" : table.Render();
}

std::string PolicyText(const api::RotationPolicy& policy) {
  std::string algorithms;
  for (const int algorithm : policy.algorithms()) {
    algorithms += (algorithms.empty() ? "" : ", ") + NameOf(static_cast<api::KeyAlgorithm>(algorithm));
  }
  Table table;
  table.Add({"of:", policy.domain().empty() ? "every domain without one of its own" : policy.domain()});
  table.Add({"rotates:", policy.on_demand() ? "on demand" : "by itself"});
  table.Add({"algorithms:", algorithms});
  table.Add({"lifetime:", DurationText(policy.lifetime_seconds())});
  table.Add({"propagation:", DurationText(policy.propagation_seconds())});
  table.Add({"retire:", DurationText(policy.retire_seconds())});
  table.Add({"revoked:", DurationText(policy.revoked_seconds())});
  table.Add({"trash:", DurationText(policy.trash_seconds())});
  table.Add({"record TTL:", DurationText(policy.record_ttl_seconds())});
  table.Add({"selector:", policy.selector()});
  table.Add({"publisher:", policy.publisher()});
  table.Add({"delegation:", policy.delegation().empty() ? "none" : policy.delegation()});
  table.Add({"token:", policy.token().empty() ? "first of the configuration" : policy.token()});
  table.Add({"backup:", policy.backup_waiver().empty()
                            ? "none, not waived"
                            : "waived by " + policy.backup_waived_by() + " " + TimeText(policy.backup_waived_time()) +
                                  ": " + policy.backup_waiver()});
  return table.Render();
}

// Two lines a step: no column of 80 would hold its sentence.
std::string EventsText(const api::ListKeyEventsResponse& answer) {
  std::string text;
  for (const auto& event : answer.events()) {
    text += event.has_done_time() ? TimeText(event.done_time()) : TimeText(event.planned_time()) + " planned";
    text += event.axis() == "record" ? "  record " : "  ";
    text += OneLine((event.from().empty() ? "" : event.from() + " -> ") + event.to() + "  (" + event.by() + ")") + "\n";
    std::string about = event.selector().empty() ? event.domain() : event.selector() + " of " + event.domain();
    if (!event.note().empty()) about += ": " + event.note();
    text += Paragraph(about);
  }
  return text.empty() ? "no steps yet\n" : text;
}

std::optional<std::int64_t> ParseDuration(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end + 1 != text.data() + text.size() || number <= 0) return std::nullopt;
  for (const auto& [unit, seconds] : kUnits) {
    if (*end == unit && number < (std::int64_t{1} << 31)) return number * seconds;
  }
  return std::nullopt;
}

std::string DurationText(std::int64_t seconds) {
  for (const auto& [unit, length] : kUnits) {
    if (seconds % length == 0) return std::to_string(seconds / length) + unit;
  }
  return std::to_string(seconds) + "s";
}

}  // namespace hallmark::ctl
