#include "signerd/dns/dnssec.h"

#include <strings.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <vector>

#include "firmware/runtime/file.h"
#include "signerd/dns/message.h"

namespace hallmark::dns {
namespace {

constexpr std::size_t kMostAnchorFile = 1 << 20;
constexpr std::uint16_t kZoneKey = 0x0100, kRevoked = 0x0080;  // flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011)
constexpr std::uint8_t kDnssecProtocol = 3;
// More work than this for one hash is refused by resolvers too (RFC 9276 section 3.2).
constexpr std::uint16_t kMostIterations = 500;
// Honest zones have fewer; a hostile one could make every signature be tried with every key.
constexpr std::size_t kMostSignatures = 8, kMostKeys = 24, kMostDenials = 16;

RecordView View(const std::vector<const ldns_rr*>& records) {
  RecordView view(ldns_rr_list_new());
  // ldns takes lists that it only reads without const.
  for (const ldns_rr* record : records) ldns_rr_list_push_rr(view.get(), const_cast<ldns_rr*>(record));
  return view;
}

bool IsZoneKey(const ldns_rr* key) {
  const std::uint16_t flags = ldns_rdf2native_int16(ldns_rr_rdf(key, 0));
  return (flags & kZoneKey) != 0 && (flags & kRevoked) == 0 &&
         ldns_rdf2native_int8(ldns_rr_rdf(key, 1)) == kDnssecProtocol;
}

// The signatures over the set that the zone itself made.
std::vector<const ldns_rr*> SignaturesOf(const ldns_rr_list* section, const ldns_rdf* owner, ldns_rr_type type,
                                         const ldns_rdf* apex) {
  std::vector<const ldns_rr*> signatures = Select(section, owner, LDNS_RR_TYPE_RRSIG);
  const std::uint8_t labels = ldns_dname_label_count(owner);
  std::erase_if(signatures, [&](const ldns_rr* signature) {
    return ldns_rdf2rr_type(ldns_rr_rrsig_typecovered(signature)) != type ||
           ldns_rdf2native_int8(ldns_rr_rrsig_labels(signature)) > labels ||
           ldns_dname_compare(ldns_rr_rrsig_signame(signature), apex) != 0;
  });
  if (signatures.size() > kMostSignatures) signatures.resize(kMostSignatures);
  return signatures;
}

// The keys of `apex` that its DS records or anchors name.
std::vector<const ldns_rr*> Trusted(const std::vector<const ldns_rr*>& keys,
                                    const std::vector<const ldns_rr*>& anchors) {
  std::vector<const ldns_rr*> trusted;
  for (const ldns_rr* key : keys) {
    const bool named = std::any_of(anchors.begin(), anchors.end(), [&](const ldns_rr* anchor) {
      if (ldns_rr_get_type(anchor) == LDNS_RR_TYPE_DS) return ldns_rr_compare_ds(key, anchor);
      return ldns_rdf_compare(ldns_rr_rdf(key, 2), ldns_rr_rdf(anchor, 2)) == 0 &&
             ldns_rdf_compare(ldns_rr_rdf(key, 3), ldns_rr_rdf(anchor, 3)) == 0;
    });
    if (named) trusted.push_back(key);
  }
  return trusted;
}

// What a signed zone says of a name without a DS record.
enum class Denial {
  kNoZone,    // the name is no zone of its own
  kUnsigned,  // it is delegated, without DS
  kUnproved,  // nothing that verifies
};

Denial ByTypes(const ldns_rdf* bitmap) {
  if (bitmap == nullptr || ldns_nsec_bitmap_covers_type(bitmap, LDNS_RR_TYPE_DS)) return Denial::kUnproved;
  // With SOA it is the child's own record, which says nothing about the parent's DS.
  if (ldns_nsec_bitmap_covers_type(bitmap, LDNS_RR_TYPE_SOA)) return Denial::kUnproved;
  return ldns_nsec_bitmap_covers_type(bitmap, LDNS_RR_TYPE_NS) ? Denial::kUnsigned : Denial::kNoZone;
}

Denial ByNsec(const std::vector<const ldns_rr*>& nsecs, const ldns_rdf* name) {
  for (const ldns_rr* nsec : nsecs) {
    const ldns_rdf* owner = ldns_rr_owner(nsec);
    if (ldns_dname_compare(owner, name) == 0) return ByTypes(ldns_nsec_get_bitmap(nsec));
    if (!ldns_nsec_covers_name(nsec, name)) continue;
    // The record of a delegation above the name speaks for the parent's side only (RFC 6840 section 4.1).
    const bool above = ldns_dname_is_subdomain(name, owner);
    if (above && ByTypes(ldns_nsec_get_bitmap(nsec)) == Denial::kUnsigned) continue;
    return Denial::kNoZone;
  }
  return Denial::kUnproved;
}

// The NSEC3 record whose owner is the hash of `name`, or with `covers` the one whose gap the hash falls into.
const ldns_rr* FindNsec3(const std::vector<const ldns_rr*>& nsec3s, const ldns_rdf* name, const ldns_rdf* apex,
                         bool covers) {
  for (const ldns_rr* nsec3 : nsec3s) {
    const Rdf hash(ldns_nsec3_hash_name_frm_nsec3(nsec3, name));
    if (!hash || ldns_dname_cat(hash.get(), apex) != LDNS_STATUS_OK) continue;
    const bool matches = ldns_dname_compare(hash.get(), ldns_rr_owner(nsec3)) == 0;
    if (covers ? !matches && ldns_nsec_covers_name(nsec3, hash.get()) : matches) return nsec3;
  }
  return nullptr;
}

// RFC 5155 sections 8.6 and 8.9.
Denial ByNsec3(const std::vector<const ldns_rr*>& nsec3s, const ldns_rdf* name, const ldns_rdf* apex) {
  for (const ldns_rr* nsec3 : nsec3s) {
    if (ldns_nsec3_iterations(nsec3) > kMostIterations) return Denial::kUnsigned;
  }
  if (const ldns_rr* match = FindNsec3(nsec3s, name, apex, false)) return ByTypes(ldns_nsec3_bitmap(match));
  // The closest ancestor that exists, and the record that shows that the name below it, towards ours, does not.
  Rdf next_closer(ldns_rdf_clone(name));
  while (ldns_dname_compare(next_closer.get(), apex) != 0 && ldns_dname_is_subdomain(next_closer.get(), apex)) {
    Rdf encloser(ldns_dname_left_chop(next_closer.get()));
    if (!encloser) break;
    if (FindNsec3(nsec3s, encloser.get(), apex, false) != nullptr) {
      const ldns_rr* cover = FindNsec3(nsec3s, next_closer.get(), apex, true);
      if (cover == nullptr) return Denial::kUnproved;
      return ldns_nsec3_optout(cover) ? Denial::kUnsigned : Denial::kNoZone;
    }
    next_closer = std::move(encloser);
  }
  return Denial::kUnproved;
}

// One walk down from an anchor.
class Chain {
 public:
  Chain(Lookup& lookup, std::chrono::sys_seconds now) : lookup_(lookup), now_(now) {}

  Result<ZoneTrust> Walk(const std::vector<const ldns_rr*>& anchors, const ldns_rdf* apex) {
    zone_.reset(ldns_rdf_clone(ldns_rr_owner(anchors.front())));
    if (const auto entered = Enter(anchors); !entered || !why_.empty()) return Ended(entered);
    // Every name between the anchor and the zone may be a zone of its own.
    const int below = ldns_dname_label_count(apex) - ldns_dname_label_count(zone_.get());
    for (int left = below - 1; left >= 0; --left) {
      const Rdf name(ldns_dname_clone_from(apex, static_cast<std::uint16_t>(left)));
      if (!name) return MakeError(Reason::kInternal, "no memory for a name");
      const auto denial = Descend(name.get());
      if (!denial || !why_.empty()) return Ended(denial);
      if (*denial == Denial::kUnsigned) return ZoneTrust{};
    }
    if (ldns_dname_compare(zone_.get(), apex) != 0) {
      why_ = "the zone above says that " + NameText(apex) + " is no zone";
      return Ended(Ok());
    }
    return ZoneTrust{ZoneTrust::State::kSigned, std::move(keys_), ""};
  }

 private:
  template <class T>
  Result<ZoneTrust> Ended(const Result<T>& step) const {
    if (!step) return step.error();
    return ZoneTrust{ZoneTrust::State::kBroken, nullptr, why_};
  }

  // Fetches the keys of zone_, which `anchors` vouch for.
  Status Enter(const std::vector<const ldns_rr*>& anchors) {
    const auto answer = lookup_.Ask(zone_.get(), LDNS_RR_TYPE_DNSKEY);
    if (!answer) return answer.error();
    const ldns_rr_list* section = ldns_pkt_answer(answer->get());
    auto keys = Select(section, zone_.get(), LDNS_RR_TYPE_DNSKEY);
    std::erase_if(keys, [](const ldns_rr* key) { return !IsZoneKey(key); });
    if (keys.size() > kMostKeys) keys.resize(kMostKeys);
    const auto trusted = Trusted(keys, anchors);
    if (trusted.empty()) {
      why_ = "no DNSKEY of " + NameText(zone_.get()) + " is the one that its DS records or the trust anchor name";
      return Ok();
    }
    why_ = CheckSignature(section, zone_.get(), LDNS_RR_TYPE_DNSKEY, zone_.get(), View(trusted).get(), now_);
    keys_.reset(ldns_rr_list_clone(View(keys).get()));
    return Ok();
  }

  // One name further down.
  Result<Denial> Descend(const ldns_rdf* name) {
    const auto answer = lookup_.Ask(name, LDNS_RR_TYPE_DS);
    if (!answer) return answer.error();
    const ldns_rr_list* section = ldns_pkt_answer(answer->get());
    const auto ds = Select(section, name, LDNS_RR_TYPE_DS);
    if (ds.empty()) {
      const Denial denial = Deny(answer->get(), name);
      if (denial == Denial::kUnproved) why_ = "there is no valid proof that " + NameText(name) + " has no DS record";
      return denial;
    }
    why_ = CheckSignature(section, name, LDNS_RR_TYPE_DS, zone_.get(), keys_.get(), now_);
    if (!why_.empty()) return Denial::kUnproved;
    zone_.reset(ldns_rdf_clone(name));
    if (const Status entered = Enter(ds); !entered) return entered.error();
    return Denial::kNoZone;  // Nothing was denied: the walk goes on.
  }

  // What the NSEC or NSEC3 records that verify say.
  Denial Deny(const ldns_pkt* answer, const ldns_rdf* name) const {
    const auto nsecs = Valid(ldns_pkt_authority(answer), LDNS_RR_TYPE_NSEC);
    if (const Denial denial = ByNsec(nsecs, name); denial != Denial::kUnproved) return denial;
    return ByNsec3(Valid(ldns_pkt_authority(answer), LDNS_RR_TYPE_NSEC3), name, zone_.get());
  }

  std::vector<const ldns_rr*> Valid(const ldns_rr_list* section, ldns_rr_type type) const {
    std::vector<const ldns_rr*> valid;
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(section) && valid.size() < kMostDenials; ++i) {
      const ldns_rr* record = ldns_rr_list_rr(section, i);
      if (ldns_rr_get_type(record) != type || !IsWhole(record)) continue;
      if (!ldns_dname_is_subdomain(ldns_rr_owner(record), zone_.get()) &&
          ldns_dname_compare(ldns_rr_owner(record), zone_.get()) != 0) {
        continue;
      }
      if (CheckSignature(section, ldns_rr_owner(record), type, zone_.get(), keys_.get(), now_).empty()) {
        valid.push_back(record);
      }
    }
    return valid;
  }

  Lookup& lookup_;
  std::chrono::sys_seconds now_;
  Rdf zone_;      // the deepest one with validated keys
  Records keys_;  // its keys
  std::string why_;
};

// The anchors of the deepest name that is `apex` or above it.
std::vector<const ldns_rr*> AnchorsFor(const ldns_rr_list* anchors, const ldns_rdf* apex) {
  std::vector<const ldns_rr*> deepest;
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(anchors); ++i) {
    const ldns_rr* anchor = ldns_rr_list_rr(anchors, i);
    const ldns_rdf* owner = ldns_rr_owner(anchor);
    if (ldns_dname_compare(apex, owner) != 0 && !ldns_dname_is_subdomain(apex, owner)) continue;
    const int more =
        deepest.empty() ? 1 : ldns_dname_label_count(owner) - ldns_dname_label_count(ldns_rr_owner(deepest[0]));
    if (more > 0) deepest.clear();
    if (more >= 0) deepest.push_back(anchor);
  }
  return deepest;
}

// Whether the type of the record is one of an anchor's. ldns 1.8 loses memory with some others (IPSECKEY), so that it
// gets to see these alone.
bool IsAnchor(const std::string& line) {
  std::istringstream words(line);
  std::string word;
  words >> word;  // the owner
  while (words >> word) {
    const auto is = [&](const char* name) { return ::strcasecmp(word.c_str(), name) == 0; };
    const bool ttl = word[0] >= '0' && word[0] <= '9';
    if (!ttl && !is("IN")) return is("DS") || is("DNSKEY");
  }
  return false;
}

}  // namespace

Result<Records> ParseTrustAnchors(std::string_view content) {
  const auto invalid = [](std::size_t line, const std::string& what) {
    return MakeError(Reason::kConfigInvalid,
                     "line " + std::to_string(line) + ": " + what + ": each line is to be a DS or DNSKEY record");
  };
  Records anchors(ldns_rr_list_new());
  for (std::size_t number = 1; !content.empty(); ++number) {
    std::string line(content.substr(0, content.find('\n')));
    content.remove_prefix(std::min(line.size() + 1, content.size()));
    line.erase(0, std::min(line.find_first_not_of(" \t\r"), line.size()));
    if (line.empty() || line[0] == ';' || line[0] == '#') continue;
    if (line.find('\0') != std::string::npos) return invalid(number, "a zero octet");
    if (!IsAnchor(line)) return invalid(number, "another record");
    ldns_rr* raw = nullptr;
    const ldns_status status = ldns_rr_new_frm_str(&raw, line.c_str(), 0, nullptr, nullptr);
    Record record(raw);
    if (status != LDNS_STATUS_OK) return invalid(number, ldns_get_errorstr_by_id(status));
    const ldns_rr_type type = ldns_rr_get_type(raw);
    if ((type != LDNS_RR_TYPE_DS && type != LDNS_RR_TYPE_DNSKEY) || !IsWhole(raw))
      return invalid(number, "another record");
    ldns_rr_list_push_rr(anchors.get(), record.release());
  }
  if (ldns_rr_list_rr_count(anchors.get()) == 0) return MakeError(Reason::kConfigInvalid, "no trust anchor in it");
  return anchors;
}

Result<Records> ReadTrustAnchors(const std::filesystem::path& file) {
  const auto content = ReadFile(file, kMostAnchorFile);
  if (!content) return content.error();
  auto anchors = ParseTrustAnchors(*content);
  if (!anchors) return MakeError(anchors.error().reason, file.string() + ": " + anchors.error().message);
  return anchors;
}

Result<ZoneTrust> FindTrust(Lookup& lookup, const ldns_rr_list* anchors, const ldns_rdf* apex,
                            std::chrono::sys_seconds now) {
  const auto above = AnchorsFor(anchors, apex);
  if (above.empty()) return ZoneTrust{};
  return Chain(lookup, now).Walk(above, apex);
}

std::string CheckSignature(const ldns_rr_list* section, const ldns_rdf* owner, ldns_rr_type type, const ldns_rdf* apex,
                           const ldns_rr_list* keys, std::chrono::sys_seconds now) {
  const LdnsText type_text(ldns_rr_type2str(type));
  const std::string what = NameText(owner) + " " + (type_text ? type_text.get() : "?");
  const auto signatures = SignaturesOf(section, owner, type, apex);
  if (signatures.empty()) return what + " is not signed by " + NameText(apex);
  const RecordView set = View(Select(section, owner, type));
  const ldns_status status =
      ldns_verify_time(set.get(), View(signatures).get(), keys, now.time_since_epoch().count(), nullptr);
  if (status == LDNS_STATUS_OK) return "";
  return what + ": " + ldns_get_errorstr_by_id(status);
}

}  // namespace hallmark::dns
