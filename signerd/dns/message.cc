#include "signerd/dns/message.h"

#include <algorithm>

#include "firmware/runtime/printable.h"

namespace hallmark::dns {
namespace {

constexpr std::uint16_t kUdpOctets = 1232;  // what passes every network without fragments
constexpr std::size_t kStringOctets = 255;  // of one string in a TXT record

Error NoAnswer(const std::string& why) { return MakeError(Reason::kDnsUnavailable, why); }

std::size_t U16(ByteView wire, std::size_t at) { return std::size_t{wire[at]} << 8 | wire[at + 1]; }

// Whether it has two OPT or two TSIG records, which it must not (RFC 6891 section 6.1.1, RFC 8945 section 5.1): ldns
// 1.8 loses the memory of the first. Records are taken as ldns takes them, which goes on where a record's fields end
// and not where its length says. What is malformed is left to ldns.
bool RepeatsMeta(ByteView wire) {
  if (wire.size() < LDNS_HEADER_SIZE) return false;
  const std::size_t questions = U16(wire, 4), all = questions + U16(wire, 6) + U16(wire, 8) + U16(wire, 10);
  std::size_t at = LDNS_HEADER_SIZE, opt = 0, tsig = 0;
  for (std::size_t i = 0; i < all; ++i) {
    ldns_rr* raw = nullptr;
    const ldns_pkt_section section = i < questions ? LDNS_SECTION_QUESTION : LDNS_SECTION_ANY_NOQUESTION;
    if (ldns_wire2rr(&raw, wire.data(), wire.size(), &at, section) != LDNS_STATUS_OK) return false;
    const Record record(raw);
    opt += ldns_rr_get_type(record.get()) == LDNS_RR_TYPE_OPT ? 1 : 0;
    tsig += ldns_rr_get_type(record.get()) == LDNS_RR_TYPE_TSIG ? 1 : 0;
    if (opt > 1 || tsig > 1) return true;
  }
  return false;
}

Result<Packet> Parse(ByteView wire) {
  if (RepeatsMeta(wire)) return NoAnswer("a malformed answer: two OPT or two TSIG records");
  ldns_pkt* raw = nullptr;
  const ldns_status status = ldns_wire2pkt(&raw, wire.data(), wire.size());
  Packet packet(raw);
  if (status != LDNS_STATUS_OK) return NoAnswer(std::string("a malformed answer: ") + ldns_get_errorstr_by_id(status));
  return packet;
}

bool SameQuestion(const ldns_pkt* query, const ldns_pkt* answer) {
  // A server may answer an update with the header alone (RFC 2136 section 3.8): its id says what it answers, and TSIG.
  if (ldns_pkt_get_opcode(query) == LDNS_PACKET_UPDATE && ldns_pkt_qdcount(answer) == 0) return true;
  if (ldns_pkt_qdcount(query) != 1 || ldns_pkt_qdcount(answer) != 1) return false;
  const ldns_rr* asked = ldns_rr_list_rr(ldns_pkt_question(query), 0);
  const ldns_rr* echoed = ldns_rr_list_rr(ldns_pkt_question(answer), 0);
  return ldns_dname_compare(ldns_rr_owner(asked), ldns_rr_owner(echoed)) == 0 &&
         ldns_rr_get_type(asked) == ldns_rr_get_type(echoed) && ldns_rr_get_class(asked) == ldns_rr_get_class(echoed);
}

}  // namespace

Result<Rdf> ParseName(const std::string& name) {
  const auto not_a_name = MakeError(Reason::kInvalidArgument, "\"" + name + "\" is no domain name");
  if (name.empty() || name.find('\0') != std::string::npos) return not_a_name;
  Rdf parsed(ldns_dname_new_frm_str(name.c_str()));
  if (!parsed) return not_a_name;
  return parsed;
}

Bytes MakeQuery(const ldns_rdf* name, ldns_rr_type type, Asking asking) {
  const bool resolver = asking == Asking::kResolver || asking == Asking::kResolverDnssec;
  const bool dnssec = asking == Asking::kServerDnssec || asking == Asking::kResolverDnssec;
  const Packet query(ldns_pkt_query_new(ldns_rdf_clone(name), type, LDNS_RR_CLASS_IN, resolver ? LDNS_RD : 0));
  if (!query) return {};
  ldns_pkt_set_random_id(query.get());
  ldns_pkt_set_edns_udp_size(query.get(), kUdpOctets);
  ldns_pkt_set_edns_do(query.get(), dnssec);
  ldns_pkt_set_cd(query.get(), resolver && dnssec);
  std::uint8_t* raw = nullptr;
  std::size_t size = 0;
  const ldns_status status = ldns_pkt2wire(&raw, query.get(), &size);
  const std::unique_ptr<std::uint8_t, LdnsFree<std::free>> wire(raw);
  if (status != LDNS_STATUS_OK) return {};
  return {raw, raw + size};
}

Result<Packet> ParseAnswer(ByteView query, ByteView wire) {
  const auto asked = Parse(query);
  if (!asked) return MakeError(Reason::kInternal, "a question that cannot be parsed");
  auto answer = Parse(wire);
  if (!answer) return answer;
  if (!ldns_pkt_qr(answer->get()) || ldns_pkt_id(answer->get()) != ldns_pkt_id(asked->get()) ||
      ldns_pkt_get_opcode(answer->get()) != ldns_pkt_get_opcode(asked->get()) ||
      !SameQuestion(asked->get(), answer->get())) {
    return NoAnswer("the answer belongs to another question");
  }
  return answer;
}

Result<Packet> ParseUsableAnswer(ByteView query, ByteView wire) {
  auto answer = ParseAnswer(query, wire);
  if (!answer) return answer;
  if (ldns_pkt_tc(answer->get())) return NoAnswer("a truncated answer");
  const ldns_pkt_rcode rcode = ldns_pkt_get_rcode(answer->get());
  if (rcode != LDNS_RCODE_NOERROR && rcode != LDNS_RCODE_NXDOMAIN) return NoAnswer(RcodeText(answer->get()));
  return answer;
}

bool IsTruncated(ByteView wire) { return wire.size() > 2 && (wire[2] & 0x02) != 0; }

bool IsWhole(const ldns_rr* record) {
  const ldns_rr_descriptor* descriptor = ldns_rr_descript(static_cast<std::uint16_t>(ldns_rr_get_type(record)));
  return ldns_rr_rd_count(record) >= std::max<std::size_t>(1, ldns_rr_descriptor_minimum(descriptor));
}

std::vector<const ldns_rr*> Select(const ldns_rr_list* section, const ldns_rdf* owner, ldns_rr_type type) {
  std::vector<const ldns_rr*> selected;
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(section); ++i) {
    const ldns_rr* record = ldns_rr_list_rr(section, i);
    if (ldns_rr_get_type(record) == type && ldns_rr_get_class(record) == LDNS_RR_CLASS_IN && IsWhole(record) &&
        ldns_dname_compare(ldns_rr_owner(record), owner) == 0) {
      selected.push_back(record);
    }
  }
  return selected;
}

std::string TxtValue(const ldns_rr* record) {
  std::string value;
  for (std::size_t i = 0; i < ldns_rr_rd_count(record); ++i) {
    const ldns_rdf* part = ldns_rr_rdf(record, i);
    // A character string: one octet of length, then the octets.
    const char* octets = reinterpret_cast<const char*>(ldns_rdf_data(part));
    if (ldns_rdf_size(part) > 1) value.append(octets + 1, ldns_rdf_size(part) - 1);
  }
  return value;
}

Record MakeTxt(const ldns_rdf* owner, std::uint32_t ttl, std::string_view value) {
  Record record(ldns_rr_new());
  ldns_rr_set_owner(record.get(), ldns_rdf_clone(owner));
  ldns_rr_set_type(record.get(), LDNS_RR_TYPE_TXT);
  ldns_rr_set_class(record.get(), LDNS_RR_CLASS_IN);
  ldns_rr_set_ttl(record.get(), ttl);
  do {
    const std::string_view part = value.substr(0, kStringOctets);
    value.remove_prefix(part.size());
    std::string octets(1, static_cast<char>(part.size()));
    octets += part;
    ldns_rr_push_rdf(record.get(), ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, octets.size(), octets.data()));
  } while (!value.empty());
  return record;
}

std::uint32_t TtlOf(const ldns_rr* record) {
  const std::uint32_t ttl = ldns_rr_ttl(record);
  return ttl > 0x7fffffff ? 0 : ttl;
}

std::string Shortened(std::string_view value) {
  constexpr std::size_t kMost = 60;
  return "\"" + Printable(value, kMost) + "\"";
}

}  // namespace hallmark::dns
