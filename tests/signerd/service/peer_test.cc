#include "signerd/service/peer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "firmware/runtime/issue_certificate.h"
#include "peer_context.h"

namespace hallmark::service {
namespace {

using test::PeerContext;

Subject Relay() {
  Subject subject;
  subject.common_name = "relay1";
  subject.dns_names = {"relay1.example.com"};
  return subject;
}

std::string AuthorityPem(const std::string& name) { return *CertificatePem(*MakeAuthority(name)); }

class PeerCertificatesTest : public testing::Test {
 protected:
  const Identity authority_ = *MakeAuthority("Mail CA");
  const std::string relay_ = *CertificatePem(*IssueCertificate(authority_, Relay()));
  const std::string first_ = AuthorityPem("First"), second_ = AuthorityPem("Second");
  PeerCertificates peers_;
};

// Else whoever has two connections makes each of its calls cost as much as a handshake.
TEST_F(PeerCertificatesTest, TwoConnectionsThatSendOtherCasAreEachReadOnce) {
  const auto one = peers_.Of(PeerContext(relay_, first_));
  const auto two = peers_.Of(PeerContext(relay_, second_));
  ASSERT_TRUE(one && two);
  EXPECT_NE(one, two);
  EXPECT_EQ(peers_.Of(PeerContext(relay_, first_)), one);
  EXPECT_EQ(peers_.Of(PeerContext(relay_, second_)), two);
  EXPECT_NE(one->sent.at(0).key, two->sent.at(0).key);
  EXPECT_EQ(peers_.Seen(), std::vector{two}) << "one certificate, with the list that was new last";
  EXPECT_EQ(peers_.With(one->fingerprint), (std::vector{one, two}));
  EXPECT_TRUE(peers_.With(std::string(64, '0')).empty());
}

TEST_F(PeerCertificatesTest, ASessionThatWasResumedIsJudgedByTheNewestHandshake) {
  const auto unknown = peers_.Of(PeerContext(relay_, "", true));
  ASSERT_TRUE(unknown);
  EXPECT_TRUE(unknown->sent_unknown);
  const auto whole = peers_.Of(PeerContext(relay_, first_));
  ASSERT_TRUE(whole);
  EXPECT_FALSE(whole->sent_unknown);
  EXPECT_EQ(peers_.Of(PeerContext(relay_, "", true)), whole);
}

TEST_F(PeerCertificatesTest, WhoSendsOtherCasAgainAndAgainIsNotKnown) {
  const auto one = peers_.Of(PeerContext(relay_, first_));
  std::string sent = first_;
  for (std::size_t i = 1; i < PeerCertificates::kMostLists; ++i)
    ASSERT_TRUE(peers_.Of(PeerContext(relay_, sent += '\n')));
  EXPECT_EQ(peers_.Of(PeerContext(relay_, second_)), nullptr);
  EXPECT_EQ(peers_.Of(PeerContext(relay_, first_)), one);
  EXPECT_EQ(peers_.Seen().size(), 1u);
}

TEST_F(PeerCertificatesTest, WhoSendsMoreCasThanAnybodyNeedsIsNotKnown) {
  std::string many;
  while (many.size() <= PeerCertificates::kMostSent) many += first_;
  EXPECT_EQ(peers_.Of(PeerContext(relay_, many)), nullptr);
  EXPECT_EQ(peers_.Of(PeerContext("no certificate", first_)), nullptr);
  EXPECT_TRUE(peers_.Seen().empty());
}

// What is read is replaced meanwhile; a sanitizer sees it where the old one does not live as long.
TEST_F(PeerCertificatesTest, WhoLooksWhileNewOnesComeSeesAllThatWereThere) {
  constexpr std::size_t kNew = 300;
  const std::string fingerprint = peers_.Of(PeerContext(relay_, first_))->fingerprint;
  std::atomic<std::size_t> come{1};
  std::thread coming([&] {
    for (std::string pem = relay_; come <= kNew; ++come) {
      pem += '\n';  // the same certificate as other octets, so that it is a new one
      EXPECT_TRUE(peers_.Of(PeerContext(pem, first_)));
    }
  });
  for (std::size_t before = 1; before <= kNew;) {
    before = come;
    const auto shown = peers_.With(fingerprint);
    const auto seen = peers_.Seen();
    EXPECT_GE(shown.size(), before);
    EXPECT_GE(seen.size(), shown.size());
    for (const auto& facts : seen) EXPECT_EQ(facts->fingerprint, fingerprint);
    if (HasFailure()) break;
  }
  coming.join();
  EXPECT_EQ(peers_.Seen().size(), kNew + 1);
}

}  // namespace
}  // namespace hallmark::service
