// What a record of the ledger has of an act: its request, whole or as a hash, without what is secret; and what it
// changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/ledger.pb.h"
#include "hallmark/admin/v1/policy.pb.h"
#include "signerd/dkim/sha256.h"
#include "signerd/ledger/segment.h"
#include "signerd/service/act_changes.h"
#include "signerd/service/request_json.h"

namespace hallmark::service {
namespace {

namespace admin = hallmark::admin::v1;
using ledger::v1::AdminAct;
using testing::ElementsAre;

TEST(ActRecords, ARequestIsWholeOrHasAHash) {
  admin::GetPartnerRequest request;
  request.set_name("acme");
  AdminAct act;
  SetRequest(ShowRequest(request), act);
  EXPECT_EQ(act.request(), R"({"name":"acme"})");
  EXPECT_EQ(act.request_sha256(), "");
  const std::string name(5000, 'x');
  request.set_name(name);
  SetRequest(ShowRequest(request), act);
  EXPECT_EQ(act.request().size(), 4096u);
  EXPECT_TRUE(act.request().ends_with("x..."));
  EXPECT_EQ(act.request_sha256(), AsText(dkim::Sha256Of(R"({"name":")" + name + R"("})")));
}

// They are read by auditors, who may make these calls.
TEST(ActRecords, NothingThatMessagesSay) {
  admin::SearchRecordsRequest search;
  search.set_partner("acme");
  search.set_recipient("bob@example.net");
  EXPECT_EQ(ShowRequest(search).json, R"({"partner":"acme"})");
  admin::ExplainDecisionRequest explain;
  explain.set_relay("relay1");
  explain.set_header("From: alice@example.com\r\n");
  EXPECT_EQ(ShowRequest(explain).json, R"({"relay":"relay1"})");
}

TEST(ActRecords, ChangesAreToldAllInPartsOrCounted) {
  const std::vector<std::string> few = {"one", "two"};
  AdminAct act;
  SetChanges(few, act);
  EXPECT_THAT(act.changes(), ElementsAre("one", "two"));

  std::vector<std::string> many;
  for (int i = 0; i < 2000; ++i) many.push_back(std::to_string(i) + std::string(i == 7 ? 2 << 20 : 1000, 'x'));
  SetChanges(many, act);
  EXPECT_LE(act.ByteSizeLong(), kMostChanges + 100);
  const std::string last = *act.changes().rbegin();
  EXPECT_EQ(last,
            "... and " + std::to_string(many.size() - (static_cast<std::size_t>(act.changes_size()) - 1)) + " more");

  std::vector<std::string> told;
  for (std::size_t next = 0; next < many.size();) {
    AdminAct part;
    next = AddChanges(many, next, part);
    EXPECT_LE(part.ByteSizeLong(), ledger::kMaxRecordOctets / 2);
    told.insert(told.end(), part.changes().begin(), part.changes().end());
  }
  ASSERT_EQ(told.size(), many.size());
  EXPECT_TRUE(told[7].ends_with("x..."));
  told[7] = many[7];
  EXPECT_EQ(told, many);
}

}  // namespace
}  // namespace hallmark::service
