#include "signerd/keys/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"
#include "signerd/dkim/key_record.h"

namespace hallmark::keys {
namespace {

using Kind = ServerView::Kind;
using testing::HasSubstr;

class Records : public testing::Test {
 protected:
  const dkim::PublicKey& key() const { return *key_; }
  std::string value() const { return dkim::KeyRecordValue(key()); }
  RecordView View(std::vector<ServerView> servers) const {
    servers.insert(servers.begin(), {"first", Kind::kRecords, {value()}, ""});
    return {std::move(servers), {}, {}};
  }
  std::shared_ptr<const dkim::PublicKey> key_ = test::FreshPublicKey();
};

TEST_F(Records, EveryServerHasToHaveExactlyTheKey) {
  EXPECT_TRUE(Judge(View({}), key(), Expected::kKey).everywhere);
  EXPECT_TRUE(
      Judge(View({{"second", Kind::kRecords, {"v=DKIM1;k=ed25519 ;  " + value().substr(value().find("p="))}, ""}}),
            key(), Expected::kKey)
          .everywhere)
      << "written in another way, it is the same";
  for (const auto& values : std::vector<std::vector<std::string>>{{dkim::KeyRecordValue(*test::FreshPublicKey())},
                                                                  {dkim::RevokedKeyRecordValue(key())},
                                                                  {value(), value()},
                                                                  {"v=spf1 -all"},
                                                                  {""}}) {
    const auto verdict = Judge(View({{"second", Kind::kRecords, values, ""}}), key(), Expected::kKey);
    EXPECT_FALSE(verdict.everywhere) << values.front();
    EXPECT_TRUE(verdict.contradicted);
    EXPECT_THAT(verdict.problem, HasSubstr("second has "));
  }
}

// The sentence goes into alerts and the ledger, whose strings are UTF-8.
TEST_F(Records, WhatIsFoundIsShownAsAscii) {
  std::string umlauts;
  while (umlauts.size() < 59) umlauts += "x";
  umlauts += "\xc3\xa4";  // the cut at 60 octets is in the middle of it
  for (const std::string& value : {std::string("\xff\x1b[2J"), umlauts}) {
    const auto verdict = Judge(View({{"second", Kind::kRecords, {value}, ""}}), key(), Expected::kKey);
    EXPECT_TRUE(std::all_of(verdict.problem.begin(), verdict.problem.end(), [](char c) {
      return c >= 0x20 && c < 0x7f;
    })) << verdict.problem;
  }
  EXPECT_THAT(Judge(View({{"second", Kind::kRecords, {"\xff"}, ""}}), key(), Expected::kKey).problem,
              HasSubstr("has \"\\255\""));
}

TEST_F(Records, AServerThatIsSilentProvesNothing) {
  const auto silent = Judge(View({{"second", Kind::kSilent, {}, "SERVFAIL"}}), key(), Expected::kKey);
  EXPECT_FALSE(silent.everywhere);
  EXPECT_FALSE(silent.contradicted);
  EXPECT_THAT(silent.problem, HasSubstr("second gives no answer: SERVFAIL"));
  const auto absent = Judge(View({{"second", Kind::kNone, {}, ""}}), key(), Expected::kKey);
  EXPECT_TRUE(absent.contradicted);
  const auto bogus = Judge(View({{"second", Kind::kBogus, {}, "expired"}}), key(), Expected::kKey);
  EXPECT_TRUE(bogus.contradicted);
  EXPECT_FALSE(Judge({}, key(), Expected::kKey).everywhere) << "no server at all";
}

TEST_F(Records, RevokedAndGone) {
  const ServerView revoked{"s", Kind::kRecords, {dkim::RevokedKeyRecordValue(key())}, ""};
  const ServerView gone{"s", Kind::kNone, {}, ""};
  EXPECT_EQ(Says(revoked, key(), Expected::kRevoked), "expected");
  EXPECT_EQ(Says(gone, key(), Expected::kRevoked), "absent");
  EXPECT_EQ(Says(gone, key(), Expected::kNothing), "expected");
  EXPECT_EQ(Says(revoked, key(), Expected::kNothing), "other");
}

TEST_F(Records, NamesWithAndWithoutDelegation) {
  const auto sample = test::SampleKey("example.com", "s1");
  store::RotationPolicy policy;
  EXPECT_EQ(PublishedName(sample, policy), "s1._domainkey.example.com");
  policy.delegation = "dkim.example.net";
  EXPECT_EQ(PublishedName(sample, policy), "s1.example.com.dkim.example.net");
  EXPECT_EQ(RecordName(sample), "s1._domainkey.example.com");
}

}  // namespace
}  // namespace hallmark::keys
