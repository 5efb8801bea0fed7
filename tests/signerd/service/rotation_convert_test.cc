#include "signerd/service/rotation_convert.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace hallmark::service {
namespace {

// Who owns a zone says what is in it; what does not parse again is of no use to a client or the ledger.
TEST(RotationConvert, WhatAServerSaysIsUtf8WhateverItIs) {
  keys::RotationView view;
  view.life.domain = "example.com";
  store::KeyLife& life = view.life.keys.emplace_back();
  life.key = test::SampleKey("example.com", "s1");
  life.key.state = snapshot::KeyState::kActive;
  keys::Seen& seen = view.seen["s1"];
  seen.time = std::chrono::sys_seconds(std::chrono::seconds(1'769'860'800));
  seen.view.servers.push_back({"ns1", keys::ServerView::Kind::kRecords, {std::string("\xff\x1b[2J") + "x"}, ""});
  seen.view.servers.push_back(
      {"ns2", keys::ServerView::Kind::kRecords, {std::string(60'000, '\xff')}, ""});  // as long as a record may be
  hallmark::admin::v1::Rotation again;
  ASSERT_TRUE(again.ParseFromString(ToApi(view).SerializeAsString()));
  ASSERT_EQ(again.keys(0).servers_size(), 2);
  EXPECT_EQ(again.keys(0).servers(0).says(), "other");
  EXPECT_EQ(again.keys(0).servers(0).detail(), "\\255\\027[2Jx");
  EXPECT_LT(again.keys(0).servers(1).detail().size(), 5000u);
}

}  // namespace
}  // namespace hallmark::service
