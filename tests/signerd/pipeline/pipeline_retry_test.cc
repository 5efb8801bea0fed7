#include "pipeline_case.h"

namespace hallmark::pipeline {
namespace {

// A retry under the same request_id of what may be judged otherwise by now.
class RetryTest : public PipelineTest {
 protected:
  using PipelineTest::PipelineTest;
  Result<SignedMessage> Retry(Pipeline& pipeline, std::string_view message = kMessage) const {
    Job job = MakeJob(nullptr);
    job.message = message;
    job.origin.envelope.request_id = "retry";
    return Wait(pipeline, std::move(job));
  }
  // The domain from now on.
  void Change(const std::function<void(snapshot::Domain&)>& change) {
    auto view = std::make_shared<snapshot::Snapshot>(*view_);
    change(view->domains.at("example.com"));
    view_ = view;
    current_.Set(view_);
  }
  static void HashBodiesSimply(snapshot::Domain& domain) {
    dkim::SigningProfile profile = *domain.profile;
    profile.body = dkim::Canonicalization::kSimple;
    domain.profile = std::make_shared<const dkim::PreparedProfile>(profile);
  }
  std::uint64_t Counted() const { return quotas_.Use("own", clock_.Precise()).messages; }
};

TEST_F(RetryTest, AfterTheBodysCanonicalizationWasChangedIsSignedAgain) {
  Pipeline& pipeline = Make();
  const auto made = Retry(pipeline);
  ASSERT_TRUE(made) << made.error().message;
  Change(HashBodiesSimply);
  const auto again = Retry(pipeline);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_NE(again->signatures[0].body_hash, made->signatures[0].body_hash);
  ExpectVerifies(*again);
  EXPECT_EQ(Retry(pipeline)->signatures[0].field, again->signatures[0].field);
  EXPECT_EQ(Counted(), 2u) << "each that is on the ledger, once";
  Pipeline restarted({}, tokens_, clock_, current_, quotas_, *ledger_, recipients_, Reader());
  ASSERT_TRUE(restarted.Recall());
  EXPECT_EQ(Retry(restarted)->signatures[0].field, again->signatures[0].field);
  EXPECT_EQ(Retry(restarted, "From: joe@example.com\r\n\r\nanother\r\n").error().reason, Reason::kRequestIdReused);
  EXPECT_EQ(ledger_->durable().size, 4u);
  tokens_.Stop();
}

class RetryWhileTheTokenSigns : public RetryTest {
 protected:
  RetryWhileTheTokenSigns() : RetryTest("", "C_Sign * delay 300") {}
};

TEST_F(RetryWhileTheTokenSigns, WaitsAndIsSignedItselfWhereItsBodyIsHashedOtherwise) {
  Pipeline& pipeline = Make();
  std::promise<Result<SignedMessage>> first;
  Job job = MakeJob([&](Result<SignedMessage> result) { first.set_value(std::move(result)); });
  job.origin.envelope.request_id = "retry";
  pipeline.Submit(std::move(job));
  Change(HashBodiesSimply);
  const auto again = Retry(pipeline);
  ASSERT_TRUE(again) << again.error().message;
  const auto made = first.get_future().get();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_NE(again->signatures[0].body_hash, made->signatures[0].body_hash);
  ExpectVerifies(*made);
  ExpectVerifies(*again);
  EXPECT_EQ(Counted(), 2u);
}

TEST_F(RetryTest, DoesNotGetTheSignatureOfAKeyThatSignsNoMore) {
  Pipeline& pipeline = Make();
  const auto made = Retry(pipeline);
  ASSERT_TRUE(made) << made.error().message;
  const auto fresh = MakeKey(link::KeyType::kRsa, "r2");
  Change([&](snapshot::Domain& domain) { domain.active_keys.front() = fresh; });
  const auto again = Retry(pipeline);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->signatures.at(0).selector, "r2");
  ExpectVerifies(*again);
  EXPECT_EQ(Retry(pipeline)->signatures[0].field, again->signatures[0].field);
  EXPECT_EQ(ledger_->durable().size, 4u);
  EXPECT_EQ(Counted(), 2u);
}

TEST_F(RetryTest, IsToldThatNotAllKeysOfTheDomainHaveSigned) {
  Pipeline& pipeline = Make();
  const auto whole = view_;
  Change([](snapshot::Domain& domain) { domain.active_keys.pop_back(); });
  ASSERT_TRUE(Retry(pipeline));
  view_ = whole;
  const auto again = Retry(pipeline);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->signatures.size(), 1u);
  ASSERT_EQ(again->warnings.size(), 1u);
  EXPECT_EQ(again->warnings[0].code, dkim::WarningCode::kFewerSignatures);
}

TEST_F(RetryTest, GetsTheLineEndsOfItsOwnHeader) {
  Pipeline& pipeline = Make();
  std::string bare(kMessage);
  std::erase(bare, '\r');
  const auto made = Retry(pipeline, bare);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->signatures[0].field.find('\r'), std::string::npos);
  const auto again = Retry(pipeline);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->signatures[0].field.ends_with("\r\n"));
  ExpectVerifies(*again);
}

}  // namespace
}  // namespace hallmark::pipeline
