#include "signerd/dns/tsig.h"

#include <chrono>
#include <cstdint>

namespace hallmark::dns {
namespace {

constexpr std::uint16_t kFudge = 300;  // seconds that clocks may differ (RFC 8945 section 10)

// The fields of a TSIG record (RFC 8945 section 4.2).
enum Field : std::size_t { kAlgorithm, kTimeSigned, kFudgeField, kMac, kOriginalId, kError, kOther, kFields };
// Its error codes (section 3).
enum TsigError : std::uint16_t { kBadSig = 16, kBadKey = 17, kBadTime = 18, kBadTrunc = 22 };

Error Refused(const std::string& what) { return MakeError(Reason::kDnsRefused, what); }

// A 48-bit time in octets.
std::int64_t Seconds(const std::uint8_t* octets) {
  std::int64_t seconds = 0;
  for (int i = 0; i < 6; ++i) seconds = seconds << 8 | octets[i];
  return seconds;
}

std::int64_t Now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What the server's clock says, and that of this host.
std::string ClocksDiffer(std::int64_t server_time) {
  const std::int64_t ahead = server_time - Now();
  return "the server's clock is " + std::to_string(ahead < 0 ? -ahead : ahead) + " s " +
         (ahead < 0 ? "behind" : "ahead of") + " this host's: set them right";
}

std::string AlgorithmText(const TsigKey& key) { return "\"" + key.name + "\" (" + key.algorithm + ")"; }

Error RefusedFor(std::uint16_t error, const ldns_rr* tsig, const TsigKey& key) {
  switch (error) {
    case kBadKey:
      return Refused("BADKEY: the server does not know the key " + AlgorithmText(key) +
                     ": add it there with this name and algorithm, or correct them here");
    case kBadSig:
      return Refused("BADSIG: the server has another secret for the key " + AlgorithmText(key) +
                     ": give both the same one");
    case kBadTime: {
      // Section 5.2.3: the other data is the server's time, where it says it.
      constexpr std::size_t kLength = 2, kTime = 6;
      const ldns_rdf* other = ldns_rr_rdf(tsig, kOther);
      const bool told = ldns_rdf_size(other) == kLength + kTime;
      const ldns_rdf* time = ldns_rr_rdf(tsig, kTimeSigned);
      return Refused("BADTIME: " + ClocksDiffer(Seconds(told ? ldns_rdf_data(other) + kLength : ldns_rdf_data(time))));
    }
    case kBadTrunc: return Refused("BADTRUNC: the server wants longer signatures for the key " + AlgorithmText(key));
    default: return Refused("the server refuses the signature with TSIG error " + std::to_string(error));
  }
}

bool SameText(const ldns_rdf* name, const std::string& text) {
  const Rdf other(ldns_dname_new_frm_str(text.c_str()));
  return other && ldns_dname_compare(name, other.get()) == 0;
}

}  // namespace

Status SignRequest(ldns_pkt* packet, const TsigKey& key) {
  // The secret ends with a zero octet: its page was zero before.
  const ldns_status status = ldns_pkt_tsig_sign(packet, key.name.c_str(), key.secret.view().data(), kFudge,
                                                (key.algorithm + ".").c_str(), nullptr);
  if (status == LDNS_STATUS_OK) return Ok();
  return MakeError(Reason::kInternal, std::string("cannot sign an update: ") + ldns_get_errorstr_by_id(status));
}

Status CheckAnswer(const ldns_pkt* request, ldns_pkt* answer, ByteView wire, const TsigKey& key) {
  const ldns_rr* tsig = ldns_pkt_tsig(answer);
  const std::string code = "the answer (" + RcodeText(answer) + ") ";
  if (tsig == nullptr) return Refused(code + "is not signed: the server may not know the key " + AlgorithmText(key));
  if (ldns_rr_rd_count(tsig) < kFields || ldns_rdf_size(ldns_rr_rdf(tsig, kTimeSigned)) != 6 ||
      ldns_rdf_size(ldns_rr_rdf(tsig, kError)) != 2) {
    return Refused(code + "has a malformed signature");
  }
  const std::uint16_t error = ldns_rdf2native_int16(ldns_rr_rdf(tsig, kError));
  // Answers with these two are not signed (RFC 8945 section 5.3.2): the server has nothing to sign with.
  if (error == kBadKey || error == kBadSig) return RefusedFor(error, tsig, key);
  // The algorithm is the request's: ldns would take the answer's word for it.
  if (!SameText(ldns_rr_rdf(tsig, kAlgorithm), key.algorithm) || !SameText(ldns_rr_owner(tsig), key.name) ||
      !ldns_pkt_tsig_verify(answer, wire.data(), wire.size(), key.name.c_str(), key.secret.view().data(),
                            ldns_rr_rdf(ldns_pkt_tsig(request), kMac))) {
    return Refused(code + "has a signature that does not verify with the key " + AlgorithmText(key));
  }
  if (error != 0) return RefusedFor(error, tsig, key);
  const std::int64_t signed_at = Seconds(ldns_rdf_data(ldns_rr_rdf(tsig, kTimeSigned)));
  if (signed_at > Now() + kFudge || signed_at < Now() - kFudge)
    return Refused(code + "is not of now: " + ClocksDiffer(signed_at));
  return Ok();
}

}  // namespace hallmark::dns
