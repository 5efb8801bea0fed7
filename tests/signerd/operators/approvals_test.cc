#include "signerd/operators/approvals.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace hallmark::operators {
namespace {

constexpr std::chrono::sys_seconds kStart{std::chrono::seconds(1'800'000'000)};
constexpr std::chrono::hours kLength{24};
const Decider kAlice{"alice", Bytes(32, 1)}, kBob{"bob", Bytes(32, 2)};

ApprovalRow Request(const std::string& what = "x") {
  ApprovalRow row;
  row.requester = kAlice.name;
  row.certificate = kAlice.certificate;
  row.method = "RevokeKey";
  row.request = Bytes(what.begin(), what.end());
  row.shown = "{}";
  row.danger = "revokes " + what;
  return row;
}

class ApprovalsTest : public testing::Test {
 protected:
  ApprovalsTest() { Reopen(); }
  void Reopen() {
    approvals_.reset();
    store_.reset();
    auto store = store::Store::Open(folder_.path() / "hallmark.db");
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    auto approvals = Approvals::Open(*store_, clock_, kLength);
    ASSERT_TRUE(approvals) << approvals.error().message;
    approvals_ = std::move(*approvals);
  }
  Result<ApprovalRow> Approve(std::int64_t id, const Decider& decider, Status outcome = Ok()) {
    return approvals_->Approve(id, decider, [&](const ApprovalRow& row) {
      carried_out_.push_back(row.id);
      return outcome;
    });
  }
  test::TemporaryFolder folder_;
  ManualClock clock_{kStart};
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Approvals> approvals_;
  std::vector<std::int64_t> carried_out_;
};

TEST_F(ApprovalsTest, AreCarriedOutOnceByAnother) {
  const auto id = approvals_->Request(Request());
  ASSERT_TRUE(id);
  Reopen();
  const auto done = Approve(*id, kBob);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->state, ApprovalState::kDone);
  EXPECT_EQ(done->decider, "bob");
  EXPECT_EQ(Approve(*id, kBob).error().reason, Reason::kStateConflict);
  EXPECT_EQ(carried_out_, std::vector<std::int64_t>{*id});
}

TEST_F(ApprovalsTest, WhatTwoAskedForIsDoneOnce) {
  ApprovalRow others = Request();
  others.requester = "carol";
  others.certificate = Bytes(32, 3);
  const auto first = approvals_->Request(Request()), second = approvals_->Request(others),
             other = approvals_->Request(Request("y"));
  ASSERT_EQ(Approve(*second, kBob, MakeError(Reason::kIoFailed, "no"))->state, ApprovalState::kFailed);
  EXPECT_EQ(approvals_->Get(*first)->state, ApprovalState::kWaiting) << "it was not done";
  const auto again = approvals_->Request(others);
  ASSERT_EQ(Approve(*again, kBob)->state, ApprovalState::kDone);
  EXPECT_EQ(approvals_->Get(*first)->state, ApprovalState::kFailed);
  EXPECT_EQ(approvals_->Get(*first)->outcome,
            "STATE_CONFLICT: the same was carried out as approval " + std::to_string(*again));
  EXPECT_EQ(Approve(*first, kBob).error().reason, Reason::kStateConflict);
  EXPECT_EQ(approvals_->Get(*other)->state, ApprovalState::kWaiting);
  EXPECT_EQ(approvals_->Get(*again)->state, ApprovalState::kDone);
}

TEST_F(ApprovalsTest, NobodyApprovesTheirOwn) {
  const auto id = approvals_->Request(Request());
  ASSERT_TRUE(id);
  EXPECT_EQ(Approve(*id, kAlice).error().reason, Reason::kRoleNotAllowed);
  EXPECT_EQ(Approve(*id, {"alice", kBob.certificate}).error().reason, Reason::kRoleNotAllowed);
  EXPECT_EQ(Approve(*id, {"bob", kAlice.certificate}).error().reason, Reason::kRoleNotAllowed);
  EXPECT_TRUE(carried_out_.empty());
  EXPECT_EQ(approvals_->Get(*id)->state, ApprovalState::kWaiting);
}

TEST_F(ApprovalsTest, TheSameRequestWaitsOnce) {
  const auto id = approvals_->Request(Request());
  EXPECT_EQ(*approvals_->Request(Request()), *id);
  EXPECT_NE(*approvals_->Request(Request("y")), *id);
  ApprovalRow others = Request();
  others.requester = "carol";
  EXPECT_NE(*approvals_->Request(others), *id);
  ASSERT_TRUE(approvals_->Reject(*id, kBob, "no"));
  EXPECT_NE(*approvals_->Request(Request()), *id);
}

// One operator neither fills the store nor keeps the others from asking.
TEST_F(ApprovalsTest, OfOneRequesterAreBounded) {
  std::int64_t last = 0;
  for (int i = 0; i < 50; ++i) {
    const auto id = approvals_->Request(Request(std::to_string(i)));
    ASSERT_TRUE(id) << i;
    last = *id;
  }
  EXPECT_EQ(approvals_->Request(Request("one more")).error().reason, Reason::kOverloaded);
  EXPECT_EQ(*approvals_->Request(Request("49")), last) << "what waits already is no more";
  ApprovalRow others = Request(std::string(9 << 20, 'x'));
  others.requester = "carol";
  others.danger = "first";
  EXPECT_TRUE(approvals_->Request(others));
  others.danger = "second";
  EXPECT_EQ(approvals_->Request(others).error().reason, Reason::kOverloaded) << "18 MiB together";
  ASSERT_TRUE(approvals_->Reject(last, kBob, "no"));
  EXPECT_TRUE(approvals_->Request(Request("one more")));
}

TEST_F(ApprovalsTest, AListHasTheBeginningOfALongOne) {
  ApprovalRow row = Request();
  row.danger = std::string(5000, 'x') + "y";
  const auto id = approvals_->Request(row);
  EXPECT_EQ(approvals_->List(false)->front().danger, std::string(2000, 'x') + "...");
  EXPECT_EQ(approvals_->Get(*id)->danger, row.danger);
  ASSERT_TRUE(approvals_->Reject(*id, kBob, std::string(5000, 'z')));
  EXPECT_EQ(approvals_->List(true)->front().outcome, std::string(2000, 'z') + "...");
  EXPECT_EQ(approvals_->Get(*id)->outcome, std::string(5000, 'z'));
}

// The request is only kept to be carried out.
TEST_F(ApprovalsTest, KeepTheirRequestWhileTheyWait) {
  const auto rejected = approvals_->Request(Request("x")), expires = approvals_->Request(Request("y"));
  EXPECT_EQ(approvals_->Get(*rejected)->request, Bytes{'x'});
  for (const ApprovalRow& row : *approvals_->List(false)) EXPECT_TRUE(row.request.empty());
  ASSERT_TRUE(approvals_->Reject(*rejected, kBob, "no"));
  EXPECT_TRUE(approvals_->Get(*rejected)->request.empty());
  EXPECT_EQ(approvals_->Get(*rejected)->danger, "revokes x");
  clock_.Set(kStart + kLength);
  EXPECT_TRUE(approvals_->Get(*expires)->request.empty());
}

TEST_F(ApprovalsTest, Expire) {
  const auto id = approvals_->Request(Request());
  clock_.Set(kStart + kLength - std::chrono::seconds(1));
  EXPECT_EQ(approvals_->Get(*id)->state, ApprovalState::kWaiting);
  clock_.Set(kStart + kLength);
  EXPECT_EQ(Approve(*id, kBob).error().reason, Reason::kStateConflict);
  EXPECT_EQ(approvals_->Get(*id)->state, ApprovalState::kExpired);
  EXPECT_TRUE(approvals_->List(false)->empty());
  EXPECT_EQ(approvals_->List(true)->size(), 1u);
  EXPECT_TRUE(carried_out_.empty());
}

TEST_F(ApprovalsTest, SayWhyTheyFailedOrWereRejected) {
  const auto failed = approvals_->Request(Request());
  const auto outcome = Approve(*failed, kBob, MakeError(Reason::kStateConflict, "things have changed"));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->state, ApprovalState::kFailed);
  EXPECT_EQ(outcome->outcome, "STATE_CONFLICT: things have changed");
  const auto rejected = approvals_->Request(Request("y"));
  ASSERT_TRUE(approvals_->Reject(*rejected, kBob, "not before Monday"));
  EXPECT_EQ(approvals_->Get(*rejected)->outcome, "not before Monday");
  EXPECT_EQ(Approve(*rejected, kBob).error().reason, Reason::kStateConflict);
}

TEST_F(ApprovalsTest, WhatWasBeingCarriedOutWhenTheDaemonEndedIsNotDoneAgain) {
  const auto id = approvals_->Request(Request());
  approvals_->Approve(*id, kBob, [&](const ApprovalRow& row) {
    EXPECT_EQ(store_->GetApproval(row.id)->state, ApprovalState::kApproved) << "a crash would find it so";
    return Ok();
  });
  ApprovalRow row = *store_->GetApproval(*id);
  row.state = ApprovalState::kApproved;
  ASSERT_TRUE(store_->UpdateApproval(row, ApprovalState::kDone));
  Reopen();
  EXPECT_EQ(approvals_->Get(*id)->state, ApprovalState::kFailed);
  EXPECT_EQ(Approve(*id, kBob).error().reason, Reason::kStateConflict);
}

}  // namespace
}  // namespace hallmark::operators
