#include "tools/dkimctl/ledger_text.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>

#include "firmware/runtime/encoding.h"
#include "tools/dkimctl/json.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using hallmark::ledger::v1::Record;

constexpr std::size_t kMostShown = 120;  // octets

google::protobuf::Timestamp TimeOf(const Record& record) {
  return google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(record.time_us());
}

std::string Hex(const std::string& octets) { return HexEncode(AsBytes(octets)); }

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& parts, const char* between = ", ") {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : between) + part;
  return all;
}

// For a line of a table.
std::string Beginning(const google::protobuf::RepeatedPtrField<std::string>& changes) {
  if (changes.empty()) return "";
  const std::string& first = changes[0];
  std::size_t end = std::min(first.size(), kMostShown);
  while (end < first.size() && (static_cast<unsigned char>(first[end]) & 0xc0) == 0x80) --end;
  const std::string more = changes.size() > 1 ? " (and " + std::to_string(changes.size() - 1) + " more)" : "";
  return ": " + first.substr(0, end) + (end < first.size() ? "..." : "") + more;
}

std::string Summary(const Record& record) {
  if (record.has_signature()) {
    const auto& one = record.signature();
    return one.partner() + " d=" + one.signing_domain() + " " + one.algorithm() + " " + one.message_id();
  }
  if (record.has_admin_act()) {
    const auto& act = record.admin_act();
    return act.operator_() + " " + act.method() + " " + act.outcome() + Beginning(act.changes());
  }
  if (record.has_alert()) return record.alert().kind() + " " + record.alert().message();
  return "";
}

std::string KindOf(const Record& record) {
  return record.has_signature()   ? "signature"
         : record.has_admin_act() ? "admin_act"
         : record.has_alert()     ? "alert"
                                  : "";
}

std::string CsvCell(const std::string& text) {
  std::string cell = text;
  if (!cell.empty() && std::string_view("=+-@\t\r").find(cell.front()) != std::string_view::npos) cell.insert(0, "'");
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::string RecordTable(const api::SearchRecordsResponse& page) {
  Table table({"RECORD", "TIME", "KIND", "WHAT"});
  for (const auto& entry : page.records()) {
    table.Add({std::to_string(entry.sequence()), TimeText(TimeOf(entry.record())), KindOf(entry.record()),
               Summary(entry.record())});
  }
  return table.Render();
}

std::string RecordCsvHeadings() {
  return "sequence,time,kind,partner,relay,signing_domain,selector,algorithm,message_id,from,envelope_sender,"
         "recipient_count,octets,request_id,operator,method,outcome,text,changes\r\n";
}

std::string RecordCsv(const api::LedgerRecord& entry) {
  const Record& record = entry.record();
  const auto& one = record.signature();
  const auto& act = record.admin_act();
  const auto& alert = record.alert();
  const bool mail = record.has_signature();
  const std::vector<std::string> cells = {std::to_string(entry.sequence()),
                                          google::protobuf::util::TimeUtil::ToString(TimeOf(record)),
                                          KindOf(record),
                                          record.has_alert() ? alert.partner() : one.partner(),
                                          one.relay(),
                                          record.has_alert() ? alert.signing_domain() : one.signing_domain(),
                                          one.selector(),
                                          one.algorithm(),
                                          one.message_id(),
                                          one.from(),
                                          one.envelope_sender(),
                                          mail ? std::to_string(one.recipient_count()) : "",
                                          mail ? std::to_string(one.octets()) : "",
                                          one.request_id(),
                                          act.operator_(),
                                          act.method(),
                                          act.outcome(),
                                          record.has_alert() ? alert.kind() + ": " + alert.message() : act.request(),
                                          Joined(act.changes(), "; ")};
  std::string line;
  for (const std::string& cell : cells) line += (line.empty() ? "" : ",") + CsvCell(cell);
  return line + "\r\n";
}

std::string RecordFacts(const api::LedgerRecord& entry) {
  Table table;
  const Record& record = entry.record();
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) table.Add({name, value});
  };
  add("record:", std::to_string(entry.sequence()));
  add("time:", TimeText(TimeOf(record)));
  add("kind:", KindOf(record));
  if (record.has_signature()) {
    const auto& one = record.signature();
    add("relay:", one.relay());
    add("partner:", one.partner());
    add("signing domain:", one.signing_domain());
    add("selector:", one.selector());
    add("algorithm:", one.algorithm());
    add("message-id:", one.message_id());
    add("from:", one.from());
    add("author domain:", one.author_domain());
    add("envelope sender:", one.envelope_sender());
    add("recipients:", std::to_string(one.recipient_count()));
    add("recipients in clear:", Joined(one.recipients()));
    for (const std::string& hash : one.recipient_hashes()) add("recipient hash:", Hex(hash));
    add("body hash:", Hex(one.body_hash()));
    add("header hash:", Hex(one.header_hash()));
    add("octets:", std::to_string(one.octets()));
    add("signature:", std::to_string(one.index() + 1) + " of " + std::to_string(one.count()));
    add("request id:", one.request_id());
  } else if (record.has_admin_act()) {
    const auto& act = record.admin_act();
    add("operator:", act.operator_());
    add("certificate:", Hex(act.certificate()));
    add("method:", act.method());
    add("request:", act.request());
    add("request's SHA-256:", Hex(act.request_sha256()));
    for (const std::string& change : act.changes()) add("change:", change);
    add("outcome:", act.outcome());
    if (act.approval() != 0) add("approval:", std::to_string(act.approval()));
    if (act.count() > 1) add("calls:", std::to_string(act.count()));
  } else if (record.has_alert()) {
    const auto& alert = record.alert();
    add("alert:", alert.kind());
    add("partner:", alert.partner());
    add("signing domain:", alert.signing_domain());
    add("message:", alert.message());
    add("action:", alert.action());
  }
  return table.Render();
}

std::string ProofFile(const api::InclusionProof& proof) {
  Json hashes = Json::Array();
  for (const std::string& hash : proof.hashes()) hashes.Add(Json::Text(Base64Encode(AsBytes(hash))));
  return Json::Object()
      .Set("record", Json::Text(Base64Encode(AsBytes(proof.record().octets()))))
      .Set("index", Json::Number(static_cast<std::int64_t>(proof.record().sequence())))
      .Set("tree_size", Json::Number(static_cast<std::int64_t>(proof.tree_size())))
      .Set("hashes", std::move(hashes))
      .Set("checkpoint", Json::Text(proof.checkpoint().note()))
      .Set("verifier_key", Json::Text(proof.checkpoint().verifier_key()))
      .Dump();
}

Answer<google::protobuf::Timestamp> TimeFrom(const std::string& text, std::int64_t now_seconds) {
  using google::protobuf::util::TimeUtil;
  google::protobuf::Timestamp time;
  std::int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  if (error == std::errc() && rest + 1 == end && count >= 0 && count <= 1'000'000) {
    const std::int64_t unit = *rest == 'm' ? 60 : *rest == 'h' ? 3600 : *rest == 'd' ? 86'400 : 0;
    if (unit != 0) return TimeUtil::SecondsToTimestamp(now_seconds - count * unit);
  }
  const bool day = text.size() == 10;
  if (TimeUtil::FromString(day ? text + "T00:00:00Z" : text, &time)) return time;
  return WrongUsage("\"" + text + "\" is no time; expected 2026-01-31, 2026-01-31T12:00:00Z, 90m, 36h or 7d (ago)");
}

}  // namespace hallmark::ctl
