#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>

#include "firmware/runtime/encoding.h"
#include "signerd/dkim/algorithm.h"
#include "signing.h"

namespace dkim_test {
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using testing::HasSubstr;

const Digest kDigest = Sha256Of("header data");

class NoErrorsLeft : public testing::Test {
 protected:
  // OpenSSL keeps its errors for whoever asks next.
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u); }
};
class Algorithms : public testing::Test {};
class PublicKeys : public NoErrorsLeft {};

TEST_F(Algorithms, AreARowEach) {
  for (const AlgorithmInfo& info : hallmark::dkim::Algorithms()) {
    EXPECT_EQ(AlgorithmByName(info.name), info.algorithm);
    EXPECT_EQ(&InfoOf(info.algorithm), &info);
  }
  EXPECT_EQ(AlgorithmByName("RSA-SHA256"), Algorithm::kRsaSha256);
  EXPECT_EQ(AlgorithmByName("rsa-sha1"), std::nullopt);
  EXPECT_EQ(AlgorithmByName(""), std::nullopt);
  EXPECT_EQ(InfoOf(Algorithm::kRsaSha256).minimum_signing_bits, 2048u);
  EXPECT_EQ(InfoOf(Algorithm::kRsaSha256).minimum_verifying_bits, 1024u);
}

TEST_F(PublicKeys, VerifyTheirOwnSignaturesOnly) {
  for (const TestKey* key : {&Rsa2048(), &Ed25519()}) {
    const PublicKey publik = key->Public();
    Bytes signature = key->Sign(kDigest);
    EXPECT_TRUE(publik.Verify(kDigest, signature));
    EXPECT_FALSE(publik.Verify(Sha256Of("other"), signature));
    EXPECT_FALSE(publik.Verify(kDigest, {}));
    EXPECT_FALSE(publik.Verify(kDigest, ByteView(signature).first(signature.size() - 1)));
    EXPECT_FALSE((key == &Rsa2048() ? Ed25519() : Rsa2048()).Public().Verify(kDigest, signature));
    for (std::size_t i = 0; i < signature.size(); i += 31) {
      signature[i] ^= 1;
      EXPECT_FALSE(publik.Verify(kDigest, signature)) << i;
      signature[i] ^= 1;
    }
    signature.push_back(0);
    EXPECT_FALSE(publik.Verify(kDigest, signature));
  }
}

TEST_F(PublicKeys, KnowTheirSize) {
  EXPECT_EQ(Rsa2048().Public().bits(), 2048u);
  EXPECT_EQ(Rsa2048().Public().algorithm(), Algorithm::kRsaSha256);
  EXPECT_GE(Ed25519().Public().bits(), InfoOf(Algorithm::kEd25519Sha256).minimum_signing_bits);
  EXPECT_EQ(Ed25519().Public().algorithm(), Algorithm::kEd25519Sha256);
}

TEST_F(PublicKeys, ComeBackFromTheirOwnOctets) {
  for (const TestKey* key : {&Rsa2048(), &Ed25519()}) {
    const PublicKey publik = key->Public();
    EXPECT_EQ(publik.Spki(), key->Spki());
    const auto again = PublicKey::FromRecordData(publik.algorithm(), publik.RecordData());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->Spki(), key->Spki());
  }
}

TEST_F(PublicKeys, RecordDataIsRawForEd25519AndSpkiForRsa) {
  EXPECT_EQ(Ed25519().Public().RecordData().size(), 32u);
  EXPECT_EQ(Base64Encode(Ed25519().Public().RecordData()).size(), 44u);
  EXPECT_EQ(Rsa2048().Public().RecordData(), Rsa2048().Spki());
  // The one in place of the other is refused.
  EXPECT_FALSE(PublicKey::FromRecordData(Algorithm::kEd25519Sha256, Ed25519().Spki()));
  EXPECT_FALSE(PublicKey::FromRecordData(Algorithm::kRsaSha256, Ed25519().Spki()));
  EXPECT_FALSE(PublicKey::FromRecordData(Algorithm::kRsaSha256, Ed25519().Public().RecordData()));
}

TEST_F(PublicKeys, OfWeakRsaAreRefused) {
  EXPECT_TRUE(PublicKey::FromSpki(TestKey::Rsa(1024).Spki()));
  const auto weak = PublicKey::FromSpki(TestKey::Rsa(1016).Spki());
  ASSERT_FALSE(weak);
  EXPECT_THAT(weak.error().message, HasSubstr("1016 bits is too short"));
}

TEST_F(PublicKeys, ThatAreNoneAreRefused) {
  Bytes spki = Rsa2048().Spki();
  for (std::size_t size = 0; size < spki.size(); size += 7)
    EXPECT_FALSE(PublicKey::FromSpki(ByteView(spki).first(size))) << size;
  spki.push_back(0);
  EXPECT_FALSE(PublicKey::FromSpki(spki));
  EXPECT_FALSE(PublicKey::FromSpki(AsBytes("not DER")));
  EXPECT_FALSE(PublicKey::FromEd25519(Bytes(31)));
  EXPECT_FALSE(PublicKey::FromEd25519(Bytes(33)));
  EXPECT_FALSE(PublicKey::FromEd25519({}));
  // A bare RSAPublicKey (PKCS#1), as some publish: the octets of the BIT STRING in the middle of the SPKI.
  EXPECT_FALSE(PublicKey::FromSpki(ByteView(Rsa2048().Spki()).subspan(24)));
}

TEST_F(PublicKeys, ThatWereRecordedAreTheSameWhenTheyAreUsed) {
  const Digest digest = Sha256Of("message");
  for (const TestKey* key : {&Rsa2048(), &Ed25519()}) {
    const auto recorded = PublicKey::FromRecordedSpki(key->Spki());
    ASSERT_TRUE(recorded);
    EXPECT_EQ(recorded->algorithm(), key->Public().algorithm());
    EXPECT_EQ(recorded->RecordData(), key->Public().RecordData());
    EXPECT_EQ(recorded->Spki(), key->Spki());
    EXPECT_TRUE(recorded->Verify(digest, key->Sign(digest)));
    EXPECT_EQ(recorded->bits(), key->Public().bits());
  }
}

TEST_F(PublicKeys, ThatWereRecordedAndAreDamagedVerifyNothing) {
  EXPECT_FALSE(PublicKey::FromRecordedSpki({}));
  EXPECT_FALSE(PublicKey::FromRecordedSpki(TestKey::P256().Spki()));
  Bytes damaged = Rsa2048().Spki();
  damaged.resize(100);
  const auto key = PublicKey::FromRecordedSpki(damaged);
  ASSERT_TRUE(key);
  const Digest digest = Sha256Of("message");
  EXPECT_FALSE(key->Verify(digest, Rsa2048().Sign(digest)));
  EXPECT_EQ(key->bits(), 0u);
}

TEST_F(PublicKeys, OfOtherKindsAreRefused) {
  const auto key = PublicKey::FromSpki(TestKey::P256().Spki());
  ASSERT_FALSE(key);
  EXPECT_THAT(key.error().message, HasSubstr("neither RSA nor Ed25519"));
}

}  // namespace
}  // namespace dkim_test
