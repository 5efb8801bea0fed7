#pragma once

#include <ldns/ldns.h>

// ldns makes these macros, for C.
#undef bool
#undef true
#undef false

#include <cstdlib>
#include <memory>
#include <string>

namespace hallmark::dns {

// What ldns gives and has freed: each handle owns the whole of what it points to.
template <auto Destroy>
struct LdnsFree {
  template <class T>
  void operator()(T* object) const {
    Destroy(object);
  }
};
using Packet = std::unique_ptr<ldns_pkt, LdnsFree<ldns_pkt_free>>;
using Rdf = std::unique_ptr<ldns_rdf, LdnsFree<ldns_rdf_deep_free>>;
using Record = std::unique_ptr<ldns_rr, LdnsFree<ldns_rr_free>>;
using Records = std::unique_ptr<ldns_rr_list, LdnsFree<ldns_rr_list_deep_free>>;
// A list that does not own its records.
using RecordView = std::unique_ptr<ldns_rr_list, LdnsFree<ldns_rr_list_free>>;
using LdnsText = std::unique_ptr<char, LdnsFree<std::free>>;

// A name in presentation form, with the final dot.
inline std::string NameText(const ldns_rdf* name) {
  const LdnsText text(ldns_rdf2str(name));
  return text ? text.get() : "?";
}

// "SERVFAIL" and the like.
inline std::string RcodeText(const ldns_pkt* packet) {
  const LdnsText text(ldns_pkt_rcode2str(ldns_pkt_get_rcode(packet)));
  return text ? text.get() : "code " + std::to_string(ldns_pkt_get_rcode(packet));
}

}  // namespace hallmark::dns
