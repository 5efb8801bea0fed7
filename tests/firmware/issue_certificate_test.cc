#include "firmware/runtime/issue_certificate.h"

#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <ctime>

namespace hallmark {
namespace {

constexpr std::time_t kSystemd252 = 1'667'260'800;  // 2022-11: where a clock without a battery starts
constexpr std::time_t kFarAhead = 7'000'000'000;    // 2191
const Subject kBox{"signer1.example.com", {"signer1.example.com"}, {"192.0.2.10"}, {}, Usage::kServer};

bool IsGoodAt(const Identity& identity, std::time_t now) {
  return X509_cmp_time(X509_get0_notBefore(identity.certificate.get()), &now) < 0 &&
         X509_cmp_time(X509_get0_notAfter(identity.certificate.get()), &now) > 0;
}

TEST(IssueCertificate, ABoxsCertificateIsGoodWhateverTheClockSays) {
  const auto identity = MakeSelfSigned(kBox);
  ASSERT_TRUE(identity) << identity.error().message;
  EXPECT_TRUE(IsGoodAt(*identity, kSystemd252));
  EXPECT_TRUE(IsGoodAt(*identity, kFarAhead));
}

TEST(IssueCertificate, ABoxKeepsItsKey) {
  const auto before = MakeSelfSigned(kBox);
  ASSERT_TRUE(before) << before.error().message;
  Subject other = kBox;
  other.dns_names = {"signer2.example.com"};
  const auto after = MakeSelfSigned(other, *PrivateKeyPem(*before));
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(*PrivateKeyPem(*after), *PrivateKeyPem(*before));
  EXPECT_EQ(X509_check_private_key(after->certificate.get(), before->key.get()), 1);
  EXPECT_EQ(X509_check_host(after->certificate.get(), "signer2.example.com", 0, 0, nullptr), 1);
  EXPECT_NE(Fingerprint(after->certificate.get()), Fingerprint(before->certificate.get()));
}

TEST(IssueCertificate, AKeyThatIsNoneIsRefused) {
  const auto identity = MakeSelfSigned(kBox, "-----BEGIN PRIVATE KEY-----\n");
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().reason, Reason::kInternal);
}

TEST(IssueCertificate, WhatAnAuthorityIssuesEnds) {
  const auto authority = MakeAuthority("Relays");
  ASSERT_TRUE(authority);
  const auto relay = IssueCertificate(*authority, {"relay1", {"relay1.example.com"}, {}, {}, Usage::kClient});
  ASSERT_TRUE(relay) << relay.error().message;
  for (const Identity* each : {&*authority, &*relay}) {
    EXPECT_TRUE(IsGoodAt(*each, std::time(nullptr)));
    EXPECT_FALSE(IsGoodAt(*each, kFarAhead));
  }
}

}  // namespace
}  // namespace hallmark
