#include <algorithm>
#include <string>

#include "check.h"
#include "signerd/dns/answer.h"
#include "signerd/dns/dnssec.h"
#include "signerd/dns/message.h"
#include "signerd/dns/tsig.h"
#include "signerd/dns/zone.h"

namespace {

using namespace hallmark;
using namespace hallmark::dns;

// What is asked in every run, and the zone that it is asked of.
struct Asked {
  Rdf name = Rdf(ldns_dname_new_frm_str("sel._domainkey.example.test."));
  Rdf apex = Rdf(ldns_dname_new_frm_str("example.test."));
  Bytes query = MakeQuery(name.get(), LDNS_RR_TYPE_TXT, Asking::kServerDnssec);
  Records keys =
      ParseTrustAnchors("example.test. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=").value();
  TsigKey key = ParseTsigKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "k", "hmac-sha256").value();
};

// The input as an answer to `query`: the id, the question and that it is an answer are right; the answer code, the
// counts of records and the records are the fuzzer's.
Bytes AnswerOf(const Bytes& query, ByteView input) {
  constexpr std::size_t kHeader = 12, kCounts = 6, kTypeAndClass = 4;
  const auto question_end = std::find(query.begin() + kHeader, query.end(), 0) + 1 + kTypeAndClass;
  Bytes wire(query.begin(), question_end);
  const ByteView counts = input.first(std::min(kCounts, input.size()));
  std::copy(counts.begin(), counts.end(), wire.begin() + kCounts);
  wire[2] = 0x84;  // an answer, with authority
  wire[3] = counts.empty() ? 0 : counts[0] >> 4;
  wire[6] &= 0x0f;
  const ByteView records = input.subspan(counts.size());
  wire.insert(wire.end(), records.begin(), records.end());
  return wire;
}

}  // namespace

// Answers of hostile name servers: what is read of TXT, aliases, zones, signatures and TSIG.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Asked asked;
  const Bytes wire = AnswerOf(asked.query, {data, size});
  const std::chrono::sys_seconds now{std::chrono::seconds(1'800'000'000)};
  const Context unsigned_zone{asked.name.get(), asked.apex.get(), nullptr, now, ""};
  const Context signed_zone{asked.name.get(), asked.apex.get(), asked.keys.get(), now, ""};
  using Kind = ServerAnswer::Kind;
  for (const Context& context : {unsigned_zone, signed_zone}) {
    const Said said = Interpret(asked.query, wire, context);
    Check((said.answer.kind == Kind::kRecord) == !said.answer.values.empty() || said.answer.kind == Kind::kBogus,
          "a record has a value");
    Check(said.answer.kind == Kind::kRecord || said.target || !said.answer.detail.empty(), "what is wrong is said");
    Check(context.keys == nullptr || said.answer.kind != Kind::kRecord, "nobody has the key that signs");
  }
  Interpret(asked.query, Bytes(data, data + size), signed_zone);
  const auto packet = ParseAnswer(asked.query, wire);
  if (!packet) return 0;
  const auto ask = [&](const ldns_rdf*, ldns_rr_type) { return ParseUsableAnswer(asked.query, wire); };
  if (const auto zone = FindZone(asked.name.get(), ask)) {
    Check(ldns_dname_compare(zone->get(), asked.name.get()) == 0 ||
              ldns_dname_is_subdomain(asked.name.get(), zone->get()),
          "a zone is above its name");
  }
  Check(!CheckAnswer(packet->get(), packet->get(), wire, asked.key) || ldns_pkt_tsig(packet->get()),
        "no TSIG, no trust");
  return 0;
}
