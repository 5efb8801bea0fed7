#include "signerd/dns/resolver.h"

#include <sys/time.h>

#include <cstdlib>

#include "signerd/dns/ldns_handles.h"

namespace hallmark::dns {
namespace {

constexpr int kMaxLinks = 8;                // CNAMEs in a row; real chains have one or two
constexpr std::uint16_t kUdpOctets = 1232;  // what passes every network without fragments

// One question; the name changes as a chain of CNAMEs is followed.
struct Question {
  const ldns_rdf* name;
  RecordType type;
};

ldns_rr_type CodeOf(RecordType type) {
  switch (type) {
    case RecordType::kTxt: return LDNS_RR_TYPE_TXT;
    case RecordType::kA: return LDNS_RR_TYPE_A;
    case RecordType::kAaaa: return LDNS_RR_TYPE_AAAA;
    case RecordType::kMx: return LDNS_RR_TYPE_MX;
    case RecordType::kSpf: return LDNS_RR_TYPE_SPF;
  }
  std::abort();  // Unreachable: values come only from this program.
}

Error NoAnswer(const Question& question, const std::string& why) {
  return MakeError(Reason::kIoFailed, "no answer for " + NameText(question.name) + " " +
                                          std::string(RecordTypeName(question.type)) + ": " + why);
}

// ldns takes any packet that comes back on the socket; whose answer it is has to be checked here.
bool Answers(const ldns_pkt* question, const ldns_pkt* answer) {
  if (!ldns_pkt_qr(answer) || ldns_pkt_id(answer) != ldns_pkt_id(question)) return false;
  if (ldns_pkt_qdcount(answer) != 1) return false;
  const ldns_rr* asked = ldns_rr_list_rr(ldns_pkt_question(question), 0);
  const ldns_rr* echoed = ldns_rr_list_rr(ldns_pkt_question(answer), 0);
  return ldns_dname_compare(ldns_rr_owner(asked), ldns_rr_owner(echoed)) == 0 &&
         ldns_rr_get_type(echoed) == ldns_rr_get_type(asked);
}

Result<Packet> Ask(ldns_resolver* resolver, const Question& question) {
  // An answer that was truncated leaves the resolver on TCP and with a larger buffer; each question starts afresh.
  ldns_resolver_set_usevc(resolver, false);
  ldns_resolver_set_edns_udp_size(resolver, kUdpOctets);
  // A server that did not answer once would never be asked again.
  for (std::size_t i = 0; i < ldns_resolver_nameserver_count(resolver); ++i) {
    ldns_resolver_set_nameserver_rtt(resolver, i, LDNS_RESOLV_RTT_MIN);
  }
  ldns_pkt* raw = nullptr;
  ldns_status status =
      ldns_resolver_prepare_query_pkt(&raw, resolver, question.name, CodeOf(question.type), LDNS_RR_CLASS_IN, LDNS_RD);
  const Packet asked(raw);
  if (status != LDNS_STATUS_OK) return NoAnswer(question, ldns_get_errorstr_by_id(status));
  raw = nullptr;
  status = ldns_resolver_send_pkt(&raw, resolver, asked.get());
  Packet answer(raw);
  if (status != LDNS_STATUS_OK) return NoAnswer(question, ldns_get_errorstr_by_id(status));
  if (!answer) return NoAnswer(question, "the name server did not answer in time");
  if (!Answers(asked.get(), answer.get())) return NoAnswer(question, "the answer belongs to another question");
  if (ldns_pkt_tc(answer.get())) return NoAnswer(question, "truncated even over TCP");
  return answer;
}

// Follows the CNAMEs of the answer from `end` to the last name of their chain; gives their number, at most kMaxLinks.
int FollowChain(const ldns_pkt* answer, Rdf& end) {
  const ldns_rr_list* records = ldns_pkt_answer(answer);
  for (int links = 0; links < kMaxLinks; ++links) {
    const ldns_rr* alias = nullptr;
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(records) && alias == nullptr; ++i) {
      const ldns_rr* record = ldns_rr_list_rr(records, i);
      if (ldns_rr_get_type(record) == LDNS_RR_TYPE_CNAME && ldns_dname_compare(ldns_rr_owner(record), end.get()) == 0) {
        alias = record;
      }
    }
    if (alias == nullptr) return links;
    end.reset(ldns_rdf_clone(ldns_rr_rdf(alias, 0)));
  }
  return kMaxLinks;
}

std::string JoinStrings(const ldns_rr* record) {
  std::string value;
  for (std::size_t i = 0; i < ldns_rr_rd_count(record); ++i) {
    const ldns_rdf* part = ldns_rr_rdf(record, i);
    // A character string: one octet of length, then the octets.
    const char* octets = reinterpret_cast<const char*>(ldns_rdf_data(part));
    if (ldns_rdf_size(part) > 1) value.append(octets + 1, ldns_rdf_size(part) - 1);
  }
  return value;
}

std::string HostText(const ldns_rdf* name) {
  std::string text = NameText(name);
  if (text.ends_with('.')) text.pop_back();
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// What `Answer::values` has of one record, which has the parts that its type needs.
std::string ValueOf(const ldns_rr* record, RecordType type) {
  switch (type) {
    case RecordType::kTxt:
    case RecordType::kSpf: return JoinStrings(record);
    case RecordType::kA:
    case RecordType::kAaaa: return NameText(ldns_rr_rdf(record, 0));
    case RecordType::kMx: return HostText(ldns_rr_rdf(record, 1));
  }
  std::abort();  // Unreachable: values come only from this program.
}

std::vector<std::string> ValuesOf(const ldns_pkt* answer, const Question& question) {
  std::vector<std::string> values;
  const ldns_rr_list* records = ldns_pkt_answer(answer);
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(records); ++i) {
    const ldns_rr* record = ldns_rr_list_rr(records, i);
    const std::size_t parts = question.type == RecordType::kMx ? 2 : 1;
    if (ldns_rr_get_type(record) == CodeOf(question.type) && ldns_rr_rd_count(record) >= parts &&
        ldns_dname_compare(ldns_rr_owner(record), question.name) == 0) {
      values.push_back(ValueOf(record, question.type));
    }
  }
  return values;
}

Result<ldns_resolver*> MakeResolver(const std::optional<Nameserver>& nameserver) {
  ldns_resolver* resolver = nullptr;
  if (!nameserver) {
    const ldns_status status = ldns_resolver_new_frm_file(&resolver, nullptr);
    if (status == LDNS_STATUS_OK) return resolver;
    return MakeError(Reason::kIoFailed, std::string("/etc/resolv.conf: ") + ldns_get_errorstr_by_id(status));
  }
  const ldns_rdf_type type = nameserver->address.find(':') == std::string::npos ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA;
  const Rdf address(ldns_rdf_new_frm_str(type, nameserver->address.c_str()));
  if (!address) return MakeError(Reason::kInvalidArgument, "\"" + nameserver->address + "\" is no IP address");
  resolver = ldns_resolver_new();
  if (resolver == nullptr || ldns_resolver_push_nameserver(resolver, address.get()) != LDNS_STATUS_OK) {
    ldns_resolver_deep_free(resolver);
    return MakeError(Reason::kInternal, "no memory for a resolver");
  }
  ldns_resolver_set_port(resolver, nameserver->port);
  return resolver;
}

}  // namespace

std::string_view RecordTypeName(RecordType type) {
  switch (type) {
    case RecordType::kTxt: return "TXT";
    case RecordType::kA: return "A";
    case RecordType::kAaaa: return "AAAA";
    case RecordType::kMx: return "MX";
    case RecordType::kSpf: return "SPF";
  }
  std::abort();  // Unreachable: values come only from this program.
}

void Resolver::Free::operator()(ldns_struct_resolver* resolver) const { ldns_resolver_deep_free(resolver); }

Result<Resolver> Resolver::Create(const ResolverOptions& options) {
  if (options.attempts == 0 || options.timeout.count() <= 0) {
    return MakeError(Reason::kInvalidArgument, "a resolver needs at least one attempt and a time-out above zero");
  }
  auto made = MakeResolver(options.nameserver);
  if (!made) return made.error();
  Resolver resolver(*made);
  ldns_resolver* raw = resolver.resolver_.get();
  if (ldns_resolver_nameserver_count(raw) == 0) {
    return MakeError(Reason::kIoFailed, "/etc/resolv.conf names no name server: name one");
  }
  timeval timeout{};
  timeout.tv_sec = static_cast<time_t>(options.timeout.count() / 1000);
  timeout.tv_usec = static_cast<suseconds_t>(options.timeout.count() % 1000 * 1000);
  ldns_resolver_set_timeout(raw, timeout);
  ldns_resolver_set_retry(raw, options.attempts);
  ldns_resolver_set_retrans(raw, 0);  // ldns would sleep this many seconds between attempts
  ldns_resolver_set_fallback(raw, true);
  ldns_resolver_set_igntc(raw, false);
  ldns_resolver_set_recursive(raw, true);
  ldns_resolver_set_dnssec(raw, false);
  ldns_resolver_set_defnames(raw, false);
  ldns_resolver_set_dnsrch(raw, false);
  return resolver;
}

Result<Answer> Resolver::Lookup(const std::string& name, RecordType type) {
  const Error not_a_name = MakeError(Reason::kInvalidArgument, "\"" + name + "\" is no domain name");
  if (name.empty() || name.find('\0') != std::string::npos) return not_a_name;
  Rdf current(ldns_dname_new_frm_str(name.c_str()));
  if (!current) return not_a_name;
  Answer found;
  for (int links = 0; links < kMaxLinks;) {
    auto answer = Ask(resolver_.get(), {current.get(), type});
    if (!answer) return answer.error();
    const ldns_pkt_rcode rcode = ldns_pkt_get_rcode(answer->get());
    if (rcode != LDNS_RCODE_NOERROR && rcode != LDNS_RCODE_NXDOMAIN) {
      return NoAnswer({current.get(), type}, "the name server said " + RcodeText(answer->get()));
    }
    const int followed = FollowChain(answer->get(), current);
    if (followed > 0) found.alias = HostText(current.get());
    found.values = ValuesOf(answer->get(), {current.get(), type});
    found.exists = !found.values.empty() || rcode != LDNS_RCODE_NXDOMAIN;
    if (!found.values.empty() || !found.exists || followed == 0) return found;
    links += followed;  // The server does not hold the target itself: ask for that.
  }
  return NoAnswer({current.get(), type}, "more than " + std::to_string(kMaxLinks) + " CNAMEs in a row");
}

Result<std::vector<std::string>> Resolver::LookupTxt(const std::string& name) {
  auto answer = Lookup(name, RecordType::kTxt);
  if (!answer) return answer.error();
  if (!answer->values.empty()) return std::move(answer->values);
  return MakeError(Reason::kNotFound, "there is no TXT record at " + (answer->alias.empty() ? name : answer->alias) +
                                          (answer->exists ? "" : " (NXDOMAIN)"));
}

}  // namespace hallmark::dns
