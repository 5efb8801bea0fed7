#include "signerd/service/transport.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/pem.h>

#include <algorithm>
#include <fstream>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/issue_certificate.h"
#include "peer_context.h"
#include "sample.h"

namespace hallmark::service {
namespace {

using test::PeerContext;

std::string Pem(const Identity& identity) { return *CertificatePem(identity); }

// Of the CA, from now on for a day; with its own certificate on it, or empty.
std::string CrlPem(const Identity& authority, bool revokes_itself, std::chrono::sys_seconds now) {
  const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> crl(X509_CRL_new(), &X509_CRL_free);
  const std::unique_ptr<ASN1_TIME, decltype(&ASN1_TIME_free)> time(ASN1_TIME_new(), &ASN1_TIME_free);
  X509_CRL_set_version(crl.get(), 1);
  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(authority.certificate.get()));
  ASN1_TIME_set(time.get(), now.time_since_epoch().count());
  X509_CRL_set1_lastUpdate(crl.get(), time.get());
  if (revokes_itself) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(authority.certificate.get()));
    X509_REVOKED_set_revocationDate(entry, time.get());
    X509_CRL_add0_revoked(crl.get(), entry);
  }
  ASN1_TIME_set(time.get(), (now + std::chrono::days(1)).time_since_epoch().count());
  X509_CRL_set1_nextUpdate(crl.get(), time.get());
  X509_CRL_sign(crl.get(), authority.key.get(), EVP_sha256());
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  PEM_write_bio_X509_CRL(bio.get(), crl.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

class TransportTest : public testing::Test {
 protected:
  TransportTest() {
    const Identity server = *MakeSelfSigned({"signer", {"localhost"}, {}, {}, Usage::kServer});
    Write("server.crt", Pem(server));
    Write("server.key", *PrivateKeyPem(server));
    Write("ca.pem", Pem(first_) + Pem(second_) + Pem(own_));
    Write("crl.pem", CrlPem(first_, false, clock_.Now()));
    auto opened = Transport::Open(
        "admin", {"127.0.0.1:0", Path("server.crt"), Path("server.key"), Path("ca.pem"), Path("crl.pem")}, current_,
        clock_);
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) transport_ = std::move(*opened);
  }
  std::filesystem::path Path(const std::string& name) const { return folder_.path() / name; }
  void Write(const std::string& name, const std::string& text) const { std::ofstream(Path(name)) << text; }

  test::TemporaryFolder folder_;
  ManualClock clock_{std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now())};
  snapshot::Current current_{std::make_shared<const snapshot::Snapshot>()};
  // Each as what an officer sends for the CA above its own.
  const Identity first_ = *MakeAuthority("First"), second_ = *MakeAuthority("Second");
  // An officer's that no CA issued.
  const Identity own_ = *MakeSelfSigned({"officer", {"own.example"}, {}, {}});
  const std::string officer_ = Pem(*IssueCertificate(*MakeAuthority("Officers"), {"officer", {"o.example"}, {}, {}}));
  std::unique_ptr<Transport> transport_;
};

// Of somebody who asks for an approval with the first, though the second was new last.
TEST_F(TransportTest, ACertificateThatWasShownBelowARevokedCaIsRevoked) {
  ASSERT_TRUE(transport_);
  const std::string first = Pem(first_), second = Pem(second_);
  const PeerContext below_first(officer_, first), below_second(officer_, second);
  const auto facts = transport_->Admit(below_first);
  ASSERT_TRUE(facts) << facts.error().message;
  ASSERT_TRUE(transport_->Admit(below_second));
  ASSERT_TRUE(transport_->Admit(below_first));
  const auto fingerprint = HexDecode((*facts)->fingerprint);
  ASSERT_TRUE(fingerprint);
  EXPECT_FALSE(transport_->IsRevoked(*fingerprint));

  Write("crl.pem", CrlPem(first_, true, clock_.Now()));
  transport_->Refresh();
  EXPECT_EQ(transport_->problem(), "");
  EXPECT_FALSE(transport_->Admit(below_first));
  EXPECT_TRUE(transport_->IsRevoked(*fingerprint));
}

TEST_F(TransportTest, AClientsOwnInClientCaIsNoCa) {
  ASSERT_TRUE(transport_);
  const auto fingerprint = [](const Identity& identity) { return FactsOf(*identity.certificate).fingerprint; };
  EXPECT_TRUE(transport_->IsClientCa(fingerprint(second_)));
  EXPECT_FALSE(transport_->IsClientCa(fingerprint(own_)));
}

TEST_F(TransportTest, WhatIsRevokedIsNotToBeRenewed) {
  ASSERT_TRUE(transport_);
  const std::string first = Pem(first_);
  ASSERT_TRUE(transport_->Admit(PeerContext(officer_, first)));
  const auto revoked = [&] {
    std::vector<std::string> names;
    for (const Expiry& expiry : transport_->Expiries()) {
      if (expiry.revoked) names.push_back(expiry.name);
    }
    std::sort(names.begin(), names.end());
    return names;
  };
  EXPECT_TRUE(revoked().empty());
  Write("crl.pem", CrlPem(first_, true, clock_.Now()));
  transport_->Refresh();
  EXPECT_EQ(revoked(), (std::vector<std::string>{"admin client CA CN=First", "admin client dns:relay1.example.com"}));
}

}  // namespace
}  // namespace hallmark::service
