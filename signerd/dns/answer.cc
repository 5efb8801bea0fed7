#include "signerd/dns/answer.h"

#include <algorithm>
#include <utility>

#include "signerd/dns/dnssec.h"
#include "signerd/dns/message.h"

namespace hallmark::dns {
namespace {

using Kind = ServerAnswer::Kind;

// Reads one answer that has the authority to say what it says.
class Reader {
 public:
  Reader(const ldns_pkt* packet, const Context& context) : section_(ldns_pkt_answer(packet)), context_(context) {
    said_.answer.kind = Kind::kNone;
    said_.answer.detail = ldns_pkt_get_rcode(packet) == LDNS_RCODE_NXDOMAIN ? "no such name" : "no TXT record";
  }

  Said Read() && {
    if (!TakeDname() && !TakeCname()) TakeTxt();
    return std::move(said_);
  }

 private:
  // An alias of a name above stands before the CNAME that the server makes of it (RFC 6672 section 3.1).
  bool TakeDname() {
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(section_); ++i) {
      const ldns_rr* record = ldns_rr_list_rr(section_, i);
      const ldns_rdf* owner = ldns_rr_owner(record);
      if (ldns_rr_get_type(record) != LDNS_RR_TYPE_DNAME || !IsWhole(record) || !IsBelow(context_.name, owner))
        continue;
      said_.longest_ttl = std::chrono::seconds(TtlOf(record));
      if (!Verifies(owner, LDNS_RR_TYPE_DNAME)) return true;
      said_.target = Substitute(owner, ldns_rr_rdf(record, 0));
      if (!said_.target) said_.answer.detail = "an alias above it (DNAME) that makes the name too long";
      return true;
    }
    return false;
  }

  // The name with `target` in the place of `owner`, which it ends with; null where it becomes too long.
  Rdf Substitute(const ldns_rdf* owner, const ldns_rdf* target) const {
    const std::size_t kept = ldns_rdf_size(context_.name) - ldns_rdf_size(owner);
    std::string octets(reinterpret_cast<const char*>(ldns_rdf_data(context_.name)), kept);
    octets.append(reinterpret_cast<const char*>(ldns_rdf_data(target)), ldns_rdf_size(target));
    if (octets.size() > LDNS_MAX_DOMAINLEN) return nullptr;
    return Rdf(ldns_dname_new_frm_data(static_cast<std::uint16_t>(octets.size()), octets.data()));
  }

  bool TakeCname() {
    const auto aliases = Select(section_, context_.name, LDNS_RR_TYPE_CNAME);
    if (aliases.empty()) return false;
    said_.longest_ttl = std::chrono::seconds(TtlOf(aliases.front()));
    if (aliases.size() > 1) {
      said_.answer.kind = Kind::kSilent;
      said_.answer.detail = "several aliases at one name";
    } else if (Verifies(context_.name, LDNS_RR_TYPE_CNAME)) {
      said_.target.reset(ldns_rdf_clone(ldns_rr_rdf(aliases.front(), 0)));
    }
    return true;
  }

  void TakeTxt() {
    const auto records = Select(section_, context_.name, LDNS_RR_TYPE_TXT);
    if (records.empty()) return;
    for (const ldns_rr* record : records) {
      said_.answer.values.push_back(TxtValue(record));
      said_.answer.ttl = std::max(said_.answer.ttl, std::chrono::seconds(TtlOf(record)));
    }
    std::sort(said_.answer.values.begin(), said_.answer.values.end());
    said_.longest_ttl = said_.answer.ttl;
    said_.answer.kind = Kind::kRecord;
    said_.answer.detail.clear();
    Verifies(context_.name, LDNS_RR_TYPE_TXT);
  }

  // Makes the answer bogus where the set should have a good signature and has none.
  bool Verifies(const ldns_rdf* owner, ldns_rr_type type) {
    std::string problem = context_.broken;
    if (context_.keys) problem = CheckSignature(section_, owner, type, context_.apex, context_.keys, context_.now);
    if (problem.empty()) return true;
    said_.answer.kind = Kind::kBogus;
    said_.answer.detail = "DNSSEC: " + problem;
    return false;
  }

  static bool IsBelow(const ldns_rdf* name, const ldns_rdf* owner) {
    return ldns_dname_label_count(name) > ldns_dname_label_count(owner) && ldns_dname_is_subdomain(name, owner);
  }

  const ldns_rr_list* section_;
  const Context& context_;
  Said said_;
};

Said Silent(const std::string& why) {
  Said said;
  said.answer.kind = Kind::kSilent;
  said.answer.detail = why;
  return said;
}

}  // namespace

Said Interpret(const Bytes& query, const Result<Bytes>& wire, const Context& context) {
  if (!wire) return Silent(wire.error().message);
  const auto packet = ParseUsableAnswer(query, *wire);
  if (!packet) return Silent(packet.error().message);
  if (!ldns_pkt_aa(packet->get())) return Silent("not authoritative for " + NameText(context.apex));
  return Reader(packet->get(), context).Read();
}

}  // namespace hallmark::dns
