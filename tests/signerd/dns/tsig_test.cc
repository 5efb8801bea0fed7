#include "signerd/dns/tsig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hallmark::dns {
namespace {

using testing::HasSubstr;

constexpr char kSecret[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
constexpr char kOtherSecret[] = "HxIdHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

TsigKey Key(const std::string& algorithm = "hmac-sha256") { return ParseTsigKey(kSecret, "k", algorithm).value(); }

Packet Request(const TsigKey& key) {
  const Rdf zone(ldns_dname_new_frm_str("example.test."));
  const Records none(ldns_rr_list_new());
  Packet request(ldns_update_pkt_new(ldns_rdf_clone(zone.get()), LDNS_RR_CLASS_IN, none.get(), none.get(), none.get()));
  ldns_pkt_set_random_id(request.get());
  EXPECT_TRUE(SignRequest(request.get(), key));
  return request;
}

Bytes Wire(const ldns_pkt* packet) {
  std::uint8_t* raw = nullptr;
  std::size_t size = 0;
  EXPECT_EQ(ldns_pkt2wire(&raw, packet, &size), LDNS_STATUS_OK);
  const std::unique_ptr<std::uint8_t, LdnsFree<std::free>> freed(raw);
  return {raw, raw + size};
}

// The answer of a server that has this key; not signed where the algorithm is null.
Bytes Answer(const ldns_pkt* request, const char* name, const char* secret, const char* algorithm,
             bool for_this_request = true) {
  const Packet answer(ldns_pkt_clone(request));
  ldns_rr_free(ldns_pkt_tsig(answer.get()));
  ldns_pkt_set_tsig(answer.get(), nullptr);
  ldns_pkt_set_qr(answer.get(), 1);
  if (algorithm != nullptr) {
    const ldns_rdf* mac = for_this_request ? ldns_rr_rdf(ldns_pkt_tsig(request), 3) : nullptr;
    EXPECT_EQ(ldns_pkt_tsig_sign(answer.get(), name, secret, 300, algorithm, mac), LDNS_STATUS_OK);
  }
  return Wire(answer.get());
}

Status Check(const ldns_pkt* request, const Bytes& wire, const TsigKey& key) {
  ldns_pkt* raw = nullptr;
  EXPECT_EQ(ldns_wire2pkt(&raw, wire.data(), wire.size()), LDNS_STATUS_OK);
  const Packet answer(raw);
  return CheckAnswer(request, raw, wire, key);
}

TEST(Tsig, AnswerOfTheSameKeyIsGood) {
  for (const char* algorithm : {"hmac-sha256", "hmac-sha512"}) {
    const TsigKey key = Key(algorithm);
    const Packet request = Request(key);
    const Status good =
        Check(request.get(), Answer(request.get(), "k", kSecret, (std::string(algorithm) + ".").c_str()), key);
    EXPECT_TRUE(good) << good.error().message;
  }
}

TEST(Tsig, AnswersThatProveNothingAreRefused) {
  const TsigKey key = Key();
  const Packet request = Request(key);
  struct Case {
    const char* title;
    Bytes wire;
    const char* says;
  };
  const Case kCases[] = {
      {"not signed", Answer(request.get(), "k", kSecret, nullptr), "not signed"},
      {"other secret", Answer(request.get(), "k", kOtherSecret, "hmac-sha256."), "does not verify"},
      {"other key", Answer(request.get(), "l", kSecret, "hmac-sha256."), "does not verify"},
      {"other algorithm", Answer(request.get(), "k", kSecret, "hmac-sha1."), "does not verify"},
      {"of another request", Answer(request.get(), "k", kSecret, "hmac-sha256.", false), "does not verify"},
  };
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.title);
    const Status checked = Check(request.get(), row.wire, key);
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().reason, Reason::kDnsRefused);
    EXPECT_THAT(checked.error().message, HasSubstr(row.says));
  }
}

TEST(Tsig, AnswerWithAnyBitChangedIsRefused) {
  constexpr std::size_t kId = 2;  // octets; the id is checked against the question's, and signed as a field of its own
  const TsigKey key = Key();
  const Packet request = Request(key);
  const std::size_t message = Answer(request.get(), "k", kSecret, nullptr).size();
  const Bytes good = Answer(request.get(), "k", kSecret, "hmac-sha256.");
  for (std::size_t bit = kId * 8; bit < message * 8; ++bit) {
    Bytes changed = good;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    ldns_pkt* raw = nullptr;
    const ldns_status status = ldns_wire2pkt(&raw, changed.data(), changed.size());
    const Packet answer(raw);
    if (status != LDNS_STATUS_OK) continue;
    EXPECT_FALSE(CheckAnswer(request.get(), raw, changed, key)) << "bit " << bit;
  }
}

}  // namespace
}  // namespace hallmark::dns
