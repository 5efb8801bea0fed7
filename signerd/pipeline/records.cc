#include "signerd/pipeline/records.h"

#include <algorithm>
#include <boost/locale/utf.hpp>

#include "firmware/runtime/printable.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/dkim/algorithm.h"
#include "signerd/dkim/sha256.h"

namespace hallmark::pipeline {
namespace {

constexpr std::uint32_t kFewRecipients = 100;

constexpr std::string_view kWhiteSpace = " \t\r\n";

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view MessageIdOf(const dkim::Header& header) {
  for (const dkim::Field& field : header.fields()) {
    if (!EqualIgnoringCase(field.name, "Message-ID")) continue;
    std::string_view value = field.value;
    value.remove_prefix(std::min(value.find_first_not_of(kWhiteSpace), value.size()));
    return value.substr(0, value.find_last_not_of(kWhiteSpace) + 1);
  }
  return {};
}

void AddRecipients(const std::vector<std::string>& addresses, const ledger::Recipients& recipients,
                   hallmark::ledger::v1::Signature& signature) {
  signature.set_recipient_count(static_cast<std::uint32_t>(addresses.size()));
  switch (recipients.mode()) {
    case ledger::Recipients::Mode::kClear:
      for (const std::string& address : addresses) signature.add_recipients(RecordText(address));
      break;
    case ledger::Recipients::Mode::kHashed:
      for (const auto& hash : recipients.Hash(addresses)) signature.add_recipient_hashes(hash.data(), hash.size());
      break;
    case ledger::Recipients::Mode::kNone: break;
  }
}

}  // namespace

std::string RecordText(std::string_view text, std::size_t most) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain) return std::string(text.substr(0, most));
  using Utf8 = boost::locale::utf::utf_traits<char>;
  std::string kept;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* next = at;
    const auto character = Utf8::decode(next, end);
    const bool fits = boost::locale::utf::is_valid_codepoint(character) &&
                      ControlAt({at, static_cast<std::size_t>(next - at)}).octets == 0;
    if (!fits) next = at + 1;
    const std::size_t octets = fits ? static_cast<std::size_t>(next - at) : 1;
    if (kept.size() + octets > most) break;
    fits ? kept.append(at, octets) : kept.append("?");
    at = next;
  }
  return kept;
}

Fingerprint FingerprintOf(const Origin& origin, const HashedMessage& message) {
  const auto begin = [](const dkim::Digest& digest) {
    Fingerprint::Part part;
    std::copy_n(digest.begin(), part.size(), part.begin());
    return part;
  };
  std::string asked = origin.requested_partner + '\n' + origin.requested_domain + '\n';
  asked += message.header.block();
  const bool relaxed = message.body_canonicalization == dkim::Canonicalization::kRelaxed;
  const auto way = static_cast<std::uint8_t>((relaxed ? 1 : 0) | (message.header.crlf() ? 2 : 0));
  return {begin(dkim::Sha256Of(asked)), begin(message.body_hash.digest), way};
}

std::string Fingerprint::octets() const {
  std::string octets(asked.begin(), asked.end());
  octets.append(body.begin(), body.end());
  octets.push_back(static_cast<char>(way));
  return octets;
}

std::optional<Fingerprint> Fingerprint::From(std::string_view octets) {
  Fingerprint print;
  if (octets.size() != print.asked.size() + print.body.size() + 1) return std::nullopt;
  std::copy_n(octets.begin(), print.asked.size(), print.asked.begin());
  std::copy_n(octets.begin() + print.asked.size(), print.body.size(), print.body.begin());
  print.way = static_cast<std::uint8_t>(octets.back());
  return print;
}

std::vector<std::string> MakeRecords(const Origin& origin, const HashedMessage& message,
                                     const std::vector<RecordedSignature>& signatures, std::uint64_t octets,
                                     const ledger::Recipients& recipients, std::int64_t now_us,
                                     const std::optional<Fingerprint>& fingerprint) {
  // One a thread, which keeps the room of its texts: to make them anew would cost as much as all the rest. Not the room
  // of very many recipients.
  thread_local hallmark::ledger::v1::Record record;
  if (record.signature().recipient_count() > kFewRecipients) record = {};
  record.set_time_us(now_us);
  auto& signature = *record.mutable_signature();
  signature.Clear();
  signature.set_relay(origin.relay->name);
  signature.set_partner(message.admitted.partner->name);
  signature.set_signing_domain(message.admitted.domain->name);
  signature.set_message_id(RecordText(MessageIdOf(message.header)));
  signature.set_from(RecordText(message.admitted.author.address));
  signature.set_author_domain(message.admitted.author.domain);
  signature.set_envelope_sender(RecordText(origin.envelope.sender));
  AddRecipients(origin.envelope.recipients, recipients, signature);
  signature.set_body_hash(message.body_hash.digest.data(), message.body_hash.digest.size());
  signature.set_octets(octets);
  signature.set_request_id(origin.envelope.request_id);
  signature.set_count(static_cast<std::uint32_t>(signatures.size()));
  if (fingerprint) signature.set_request_fingerprint(fingerprint->octets());
  std::vector<std::string> records;
  for (const RecordedSignature& made : signatures) {
    signature.set_selector(made.key.selector);
    signature.set_algorithm(std::string(dkim::InfoOf(made.key.public_key->algorithm()).name));
    signature.set_header_hash(made.header_hash.data(), made.header_hash.size());
    signature.set_index(static_cast<std::uint32_t>(records.size()));
    if (fingerprint) signature.set_header_field(std::string(made.field));
    records.push_back(record.SerializeAsString());
  }
  return records;
}

Result<SignedMessage> AnswerFrom(const std::vector<std::string>& records) {
  SignedMessage answer;
  for (const std::string& octets : records) {
    const auto wrong = [](const char* what) { return MakeError(Reason::kInvalidArgument, what); };
    hallmark::ledger::v1::Record record;
    if (!record.ParseFromString(octets) || !record.has_signature()) return wrong("no record of a signature");
    const hallmark::ledger::v1::Signature& entry = record.signature();
    const auto algorithm = dkim::AlgorithmByName(entry.algorithm());
    MadeSignature signature{entry.header_field(), entry.selector(), {}, {}};
    const bool fits = entry.index() == answer.signatures.size() && entry.count() == records.size();
    if (!fits || !algorithm || entry.body_hash().size() != signature.body_hash.size()) {
      return wrong("the records are not those of one answer");
    }
    signature.algorithm = *algorithm;
    std::copy(entry.body_hash().begin(), entry.body_hash().end(), signature.body_hash.begin());
    answer.signing_domain = entry.signing_domain();
    answer.signatures.push_back(std::move(signature));
  }
  return answer;
}

}  // namespace hallmark::pipeline
