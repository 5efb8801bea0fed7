#include "signerd/dns/resolver.h"

#include <cstdlib>
#include <utility>

#include "signerd/dns/lookup.h"

namespace hallmark::dns {
namespace {

constexpr int kMaxLinks = 8;  // CNAMEs in a row; real chains have one or two

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

// Follows the CNAMEs of the answer from `end` to the last name of their chain; gives their number, at most kMaxLinks.
int FollowChain(const ldns_pkt* answer, Rdf& end) {
  for (int links = 0; links < kMaxLinks; ++links) {
    const auto aliases = Select(ldns_pkt_answer(answer), end.get(), LDNS_RR_TYPE_CNAME);
    if (aliases.empty()) return links;
    end.reset(ldns_rdf_clone(ldns_rr_rdf(aliases.front(), 0)));
  }
  return kMaxLinks;
}

// Whether the answer has a DNAME above the name: the server makes the name's CNAME of it (RFC 6672 section 3.1).
bool IsBelowDname(const ldns_pkt* answer, const ldns_rdf* name) {
  for (Rdf above(ldns_dname_left_chop(name)); above; above.reset(ldns_dname_left_chop(above.get()))) {
    if (!Select(ldns_pkt_answer(answer), above.get(), LDNS_RR_TYPE_DNAME).empty()) return true;
  }
  return false;
}

std::string HostText(const ldns_rdf* name) {
  std::string text = NameText(name);
  if (text.ends_with('.')) text.pop_back();
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// What `Answer::values` has of one record.
std::string ValueOf(const ldns_rr* record, RecordType type) {
  switch (type) {
    case RecordType::kTxt:
    case RecordType::kSpf: return TxtValue(record);
    case RecordType::kA:
    case RecordType::kAaaa: return NameText(ldns_rr_rdf(record, 0));
    case RecordType::kMx: return HostText(ldns_rr_rdf(record, 1));
  }
  std::abort();  // Unreachable: values come only from this program.
}

std::vector<std::string> ValuesOf(const ldns_pkt* answer, const ldns_rdf* name, RecordType type) {
  std::vector<std::string> values;
  for (const ldns_rr* record : Select(ldns_pkt_answer(answer), name, CodeOf(type))) {
    values.push_back(ValueOf(record, type));
  }
  return values;
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

Resolver::Resolver(std::unique_ptr<dns::Lookup> lookup) : lookup_(std::move(lookup)) {}
Resolver::Resolver(Resolver&&) noexcept = default;
Resolver& Resolver::operator=(Resolver&&) noexcept = default;
Resolver::~Resolver() = default;

Result<Resolver> Resolver::Create(const ResolverOptions& options) {
  auto lookup = dns::Lookup::Create({options.nameserver, options.timeout, options.attempts});
  if (!lookup) return lookup.error();
  return Resolver(std::make_unique<dns::Lookup>(std::move(*lookup)));
}

Result<Answer> Resolver::Lookup(const std::string& name, RecordType type) {
  auto current = ParseName(name);
  if (!current) return current.error();
  Answer found;
  for (int links = 0; links < kMaxLinks;) {
    const auto answer = lookup_->Ask(current->get(), CodeOf(type));
    if (!answer) return MakeError(Reason::kIoFailed, answer.error().message);
    if (links == 0) found.by_dname = IsBelowDname(answer->get(), current->get());
    const int followed = FollowChain(answer->get(), *current);
    if (followed > 0) found.alias = HostText(current->get());
    found.values = ValuesOf(answer->get(), current->get(), type);
    found.exists = !found.values.empty() || ldns_pkt_get_rcode(answer->get()) != LDNS_RCODE_NXDOMAIN;
    if (!found.values.empty() || !found.exists || followed == 0) return found;
    links += followed;  // The server does not hold the target itself: ask for that.
  }
  return MakeError(Reason::kIoFailed, "no answer for " + name + " " + std::string(RecordTypeName(type)) +
                                          ": more than " + std::to_string(kMaxLinks) + " CNAMEs in a row");
}

Result<std::vector<std::string>> Resolver::LookupTxt(const std::string& name) {
  auto answer = Lookup(name, RecordType::kTxt);
  if (!answer) return answer.error();
  if (!answer->values.empty()) return std::move(answer->values);
  return MakeError(Reason::kNotFound, "there is no TXT record at " + (answer->alias.empty() ? name : answer->alias) +
                                          (answer->exists ? "" : " (NXDOMAIN)"));
}

}  // namespace hallmark::dns
