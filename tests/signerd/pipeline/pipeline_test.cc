#include "pipeline_case.h"

namespace hallmark::pipeline {
namespace {

TEST_F(PipelineTest, SignsWithEveryActiveKeyRsaFirst) {
  Pipeline& pipeline = Make();
  const auto made = Wait(pipeline, MakeJob(nullptr));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->signing_domain, "example.com");
  ASSERT_EQ(made->signatures.size(), 2u);
  EXPECT_EQ(made->signatures[0].selector, "r1");
  EXPECT_EQ(made->signatures[1].selector, "e1");
  ExpectVerifies(*made);
}

TEST_F(PipelineTest, EveryMessageOfManyThreadsIsAnswered) {
  PipelineConfig config;
  config.threads = 3;
  Pipeline& pipeline = Make(config);
  const auto answers = Load(pipeline, 8, 60);
  EXPECT_EQ(answers, (std::map<std::string, int>{{"", 480}}));
  EXPECT_EQ(pipeline.counters().signed_messages, 480);
  EXPECT_EQ(pipeline.counters().in_flight, 0);
}

TEST_F(PipelineTest, RefusesOnlyAtTheIntakeAndAtOnce) {
  PipelineConfig config;
  config.in_flight = 10;
  Pipeline& pipeline = Make(config);
  auto answers = Load(pipeline, 4, 100);
  EXPECT_EQ(answers[""] + answers["OVERLOADED"], 400);
  EXPECT_GE(answers[""], 5);  // a relay alone gets half of the credits
  EXPECT_GT(answers["OVERLOADED"], 0);
  EXPECT_TRUE(Wait(pipeline, MakeJob(nullptr)));
}

// Of recipients in clear a record may have more octets than the ledger takes: its reader would call them damage.
TEST_F(PipelineTest, WhatTheLedgerCannotHoldIsNotSignedAndWhatItCanIs) {
  Pipeline& pipeline = Make();
  const auto job = [&](std::size_t recipients) {
    Job made = MakeJob(nullptr);
    made.origin.envelope.recipients.assign(recipients, std::string(200, 'b') + "@example.net");
    return made;
  };
  std::vector<std::future<Result<SignedMessage>>> answers;
  for (std::size_t i = 0; i < 40; ++i) {
    Job next = job(i % 4 == 3 ? 10'000 : 4'500);  // of 2 MB, and of 0.95 MB
    auto promise = std::make_shared<std::promise<Result<SignedMessage>>>();
    answers.push_back(promise->get_future());
    next.done = [promise](Result<SignedMessage> result) { promise->set_value(std::move(result)); };
    pipeline.Submit(std::move(next));
  }
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto answer = answers[i].get();
    EXPECT_EQ(answer ? "" : ReasonName(answer.error().reason), i % 4 == 3 ? "MESSAGE_TOO_LARGE" : "") << i;
  }
  EXPECT_EQ(Records().size(), 60u);
  EXPECT_LE(disk_.longest_write, ledger::Ledger::kMostOctets);
}

TEST_F(PipelineTest, EverySignatureIsOnTheLedgerBeforeItIsGiven) {
  Pipeline& pipeline = Make();
  Job job = MakeJob(nullptr);
  job.origin.envelope = {"request-1", "bounces@example.com", {"suzie@example.net", "bob@example.net"}};
  const auto made = Wait(pipeline, std::move(job));
  ASSERT_TRUE(made) << made.error().message;
  const auto records = Records();
  ASSERT_EQ(records.size(), 2u);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& signature = records[i].signature();
    EXPECT_EQ(signature.relay(), "r");
    EXPECT_EQ(signature.partner(), "own");
    EXPECT_EQ(signature.signing_domain(), "example.com");
    EXPECT_EQ(signature.selector(), made->signatures[i].selector);
    EXPECT_EQ(signature.algorithm(), i == 0 ? "rsa-sha256" : "ed25519-sha256");
    EXPECT_EQ(signature.from(), "joe@example.com");
    EXPECT_EQ(signature.envelope_sender(), "bounces@example.com");
    EXPECT_EQ(signature.recipients_size(), 2);
    EXPECT_EQ(signature.recipients(1), "bob@example.net");
    EXPECT_EQ(AsBytes(signature.body_hash()).size(), 32u);
    EXPECT_TRUE(std::equal(signature.body_hash().begin(), signature.body_hash().end(),
                           reinterpret_cast<const char*>(made->signatures[i].body_hash.data())));
    EXPECT_EQ(signature.header_hash().size(), 32u);
    EXPECT_EQ(signature.octets(), kMessage.size());
    EXPECT_EQ(signature.index(), i);
    EXPECT_EQ(signature.count(), 2u);
    EXPECT_EQ(signature.request_id(), "request-1");
  }
}

TEST_F(PipelineTest, WithoutALedgerNothingIsGiven) {
  Pipeline& pipeline = Make();
  disk_.full = true;
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, Reason::kLedgerUnavailable);
  disk_.full = false;
  for (int i = 0; i < 3000 && !ledger_->available(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(Wait(pipeline, MakeJob(nullptr)));
  EXPECT_EQ(Records().size(), 2u);
}

// What a relay tries again gets the answer of the first: in flight, later, and from a daemon that was started anew.
TEST_F(PipelineTest, ARetryGetsTheSameAnswerAndNoSecondSignature) {
  Pipeline& pipeline = Make();
  auto own = test::PartnerForAll("own");
  own.quota.messages_per_day = 1;  // a repeated answer is not counted, or it would be refused
  view_ = With(own);
  current_.Set(view_);
  const auto job = [&](std::function<void(Result<SignedMessage>)> done) {
    Job made = MakeJob(std::move(done));
    made.origin.envelope.request_id = "retry-1";
    return made;
  };
  const auto made = Wait(pipeline, job(nullptr));
  ASSERT_TRUE(made) << made.error().message;
  const std::string fields = made->signatures.at(0).field + made->signatures.at(1).field;
  std::mutex mutex;
  std::set<std::string> repeated;
  std::atomic<int> answered{0};
  for (int i = 0; i < 50; ++i) {
    pipeline.Submit(job([&](Result<SignedMessage> result) {
      const std::lock_guard lock(mutex);
      repeated.insert(result ? result->signatures.at(0).field + result->signatures.at(1).field
                             : std::string(ReasonName(result.error().reason)));
      ++answered;
    }));
  }
  while (answered != 50) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(repeated, std::set{fields});
  EXPECT_EQ(pipeline.counters().signed_messages, 1);
  EXPECT_EQ(pipeline.counters().repeated_messages, 50);
  EXPECT_EQ(ledger_->durable().size, 2u);
  EXPECT_EQ(quotas_.Use("own", clock_.Precise()).messages, 1u);

  Pipeline restarted({}, tokens_, clock_, current_, quotas_, *ledger_, recipients_, Reader());
  ASSERT_TRUE(restarted.Recall());
  const auto again = Wait(restarted, job(nullptr));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(fields, again->signatures.at(0).field + again->signatures.at(1).field);
  EXPECT_EQ(again->signing_domain, "example.com");
  EXPECT_EQ(ledger_->durable().size, 2u);
  view_ = With(test::PartnerForAll("own"));
  current_.Set(view_);
  Job other = job(nullptr);
  other.message = std::string_view("From: joe@example.com\r\n\r\nanother one\r\n");
  EXPECT_EQ(Wait(restarted, std::move(other)).error().reason, Reason::kRequestIdReused);
  EXPECT_EQ(quotas_.Use("own", clock_.Precise()).messages, 1u);
  tokens_.Stop();
}

// A power cut left the first record of an answer and not the second. The relay tried again, and that is its answer.
TEST_F(PipelineTest, AnAnswerOfWhichOneRecordIsLeftIsNotRecalled) {
  const auto job = [&](const std::string& request_id) {
    Job made = MakeJob(nullptr);
    made.origin.envelope.request_id = request_id;
    return made;
  };
  Pipeline& pipeline = Make();
  const auto other = Wait(pipeline, job("another"));
  const auto made = Wait(pipeline, job("retry-1"));
  ASSERT_TRUE(other && made);
  std::vector<std::string> octets;
  for (std::uint64_t i = 0; i < 4; ++i) octets.push_back(*Reader()(i));

  ledger::LedgerConfig config;
  config.directory = folder_.path() / "after the cut";
  const auto after = *ledger::Ledger::Open(config, clock_);
  const auto append = [&](std::vector<std::string> records) {
    std::promise<Result<std::uint64_t>> promise;
    auto answer = promise.get_future();
    after->Append(std::move(records), [&](Result<std::uint64_t> done) { promise.set_value(std::move(done)); });
    EXPECT_TRUE(answer.get());
  };
  append({octets[2]});
  append({octets[0], octets[1]});
  append({octets[2], octets[3]});
  append({octets[2]});
  Pipeline restarted({}, tokens_, clock_, current_, quotas_, *after, recipients_,
                     [&](std::uint64_t sequence) -> Result<std::string> {
                       ledger::RecordReader reader(after->directory());
                       const auto record = reader.Read(sequence);
                       if (!record) return record.error();
                       return std::string(*record);
                     });
  ASSERT_TRUE(restarted.Recall());
  for (const auto& [request_id, first] : {std::pair("another", &*other), std::pair("retry-1", &*made)}) {
    const auto again = Wait(restarted, job(request_id));
    ASSERT_TRUE(again) << again.error().message;
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(again->signatures.at(i).field, first->signatures.at(i).field);
  }
  EXPECT_EQ(after->durable().size, 6u) << "neither was signed again";
  tokens_.Stop();
}

TEST_F(PipelineTest, RequestsOfOneIdInFlightAreSignedOnce) {
  Pipeline& pipeline = Make();
  std::mutex mutex;
  std::set<std::string> fields;
  std::atomic<int> answered{0};
  for (int i = 0; i < 50; ++i) {
    Job job = MakeJob([&](Result<SignedMessage> result) {
      const std::lock_guard lock(mutex);
      fields.insert(result ? result->signatures.at(0).field : std::string(ReasonName(result.error().reason)));
      ++answered;
    });
    job.origin.envelope.request_id = "at-once";
    pipeline.Submit(std::move(job));
  }
  while (answered != 50) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(fields.size(), 1u) << *fields.begin();
  EXPECT_EQ(ledger_->durable().size, 2u);
  EXPECT_EQ(quotas_.Use("own", clock_.Precise()).messages, 1u);
}

// A relay may have two certificates. What was signed for one is not given to the other once that is revoked.
class WhileTheTokenSigns : public PipelineTest {
 protected:
  WhileTheTokenSigns() : PipelineTest("", "C_Sign * delay 300") {}
  Job JobWith(const std::string& certificate, std::function<void(Result<SignedMessage>)> done) const {
    Job job = MakeJob(std::move(done));
    job.origin.certificate = certificate;
    job.origin.envelope.request_id = "of both";
    return job;
  }
};

TEST_F(WhileTheTokenSigns, ARepetitionWhoseCertificateWasRevokedGetsNothing) {
  Pipeline& pipeline = Make();
  auto view = std::make_shared<snapshot::Snapshot>(*view_);
  view->revoked_certificates.insert("c2");
  current_.Set(view);  // both were let in before
  std::promise<Result<SignedMessage>> first, second;
  pipeline.Submit(JobWith("c1", [&](Result<SignedMessage> result) { first.set_value(std::move(result)); }));
  pipeline.Submit(JobWith("c2", [&](Result<SignedMessage> result) { second.set_value(std::move(result)); }));
  const auto made = first.get_future().get();
  ASSERT_TRUE(made) << made.error().message;
  const auto waited = second.get_future().get();
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().reason, Reason::kCertificateRevoked);
  // And later, from the ledger.
  const auto again = Wait(pipeline, JobWith("c2", nullptr));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, Reason::kCertificateRevoked);
  EXPECT_TRUE(Wait(pipeline, JobWith("c1", nullptr)));
  auto own = test::PartnerForAll("own");
  own.state = snapshot::PartnerState::kSuspended;
  current_.Set(With(own));
  const auto stopped = Wait(pipeline, JobWith("c1", nullptr));
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().reason, Reason::kPartnerSuspended);
}

TEST_F(PipelineTest, AFailedAttemptIsForgottenAndTheNextIsReallyTried) {
  Pipeline& pipeline = Make();
  const auto whole = view_;
  auto view = std::make_shared<snapshot::Snapshot>(*view_);
  view->domains.at("example.com")
      .active_keys.push_back(std::make_shared<const snapshot::Key>(test::SampleKey("example.com", "gone")));
  view_ = view;
  const auto job = [&] {
    Job made = MakeJob(nullptr);
    made.origin.envelope.request_id = "retry-2";
    return made;
  };
  EXPECT_EQ(Wait(pipeline, job()).error().reason, Reason::kKeyMissing);
  view_ = whole;
  EXPECT_TRUE(Wait(pipeline, job()));
}

TEST(RecordText, IsValidUtf8WithoutControlCharacters) {
  EXPECT_EQ(RecordText("<a@b>"), "<a@b>");
  EXPECT_EQ(RecordText("\xc3\xa9\xe4\xbd\xa0"), "\xc3\xa9\xe4\xbd\xa0");
  EXPECT_EQ(RecordText("a\r\nb\tc\x7f\xc2\x85"), "a??b?c???");
  EXPECT_EQ(RecordText("a\xe2\x80\xae"
                       "b"),
            "a???b");  // U+202E turns what follows it around
  EXPECT_EQ(RecordText("\xff\xc3(\xed\xa0\x80"), std::string("??") + "(" + "???");
  EXPECT_EQ(RecordText(std::string(2000, 'x')).size(), 998u);
  EXPECT_EQ(RecordText("ab\xc3\xa9", 3), "ab");
}

TEST_F(PipelineTest, TokendKilledUnderLoadLosesNothing) {
  Pipeline& pipeline = Make();
  std::atomic<bool> stop{false};
  std::thread killer([&] {
    for (int i = 0; i < 3 && !stop; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      // Not while it logs in: SoftHSM then writes its token anew, and one that is killed meanwhile leaves half of it.
      while (!stop && tokens_.Facts().front().status.state != link::TokenState::kReady) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      // The only child of this process, whichever thread started it.
      for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream list(task.path() / "children");
        for (pid_t pid = 0; list >> pid;) ::kill(pid, SIGKILL);
      }
    }
  });
  auto answers = Load(pipeline, 4, 200);
  stop = true;
  killer.join();
  // Answered once each: signed, or told to come again.
  EXPECT_EQ(answers[""] + answers["TOKEN_DOWN"], 800);
  EXPECT_GT(answers[""], 0);
  const auto after = Wait(pipeline, MakeJob(nullptr));
  ASSERT_TRUE(after) << after.error().message;
  ExpectVerifies(*after);
}

TEST_F(PipelineTest, AKeyThatIsNotTheRecordedOneSignsNothing) {
  auto view = std::make_shared<snapshot::Snapshot>(*view_);
  auto key = *view_->FindDomain("example.com")->active_keys.front();
  key.public_key = test::FreshPublicKey();
  view->domains.at("example.com").active_keys = {std::make_shared<const snapshot::Key>(key)};
  view_ = view;
  Pipeline& pipeline = Make();
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, Reason::kKeyMismatch);
}

TEST_F(PipelineTest, OneKeyMissingRefusesTheMessageAndHarmsNoOther) {
  const auto whole = view_;
  auto view = std::make_shared<snapshot::Snapshot>(*view_);
  view->domains.at("example.com")
      .active_keys.push_back(std::make_shared<const snapshot::Key>(test::SampleKey("example.com", "gone")));
  view_ = view;
  Pipeline& pipeline = Make();
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, Reason::kKeyMissing);
  view_ = whole;
  EXPECT_TRUE(Wait(pipeline, MakeJob(nullptr)));
}

TEST_F(PipelineTest, APartnerThatWasStoppedMeanwhileGetsNothing) {
  Pipeline& pipeline = Make();
  for (const auto& [state, reason] : {std::pair(snapshot::PartnerState::kSuspended, Reason::kPartnerSuspended),
                                      std::pair(snapshot::PartnerState::kRevoked, Reason::kPartnerRevoked)}) {
    auto own = test::PartnerForAll("own");
    own.state = state;
    current_.Set(With(own));  // the job was let in before
    EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, reason);
  }
  auto without = std::make_shared<snapshot::Snapshot>(*view_);
  without->relays.clear();
  current_.Set(without);
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, Reason::kCertificateRevoked);
  current_.Set(view_);
  EXPECT_TRUE(Wait(pipeline, MakeJob(nullptr)));
  EXPECT_EQ(quotas_.Use("own", clock_.Precise()).messages, 1u) << "what was refused is not counted";
}

TEST_F(PipelineTest, CountsWhatIsSignedAndRefusesWhatIsMore) {
  auto own = test::PartnerForAll("own");
  own.quota.messages_per_day = 2;
  view_ = With(own);
  current_.Set(view_);
  Pipeline& pipeline = Make();
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr, std::chrono::milliseconds(-1))).error().reason, Reason::kDeadlineExceeded);
  EXPECT_TRUE(Wait(pipeline, MakeJob(nullptr)));
  EXPECT_TRUE(Wait(pipeline, MakeJob(nullptr)));
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, Reason::kDailyVolumeExceeded);
  EXPECT_EQ(quotas_.Use("own", clock_.Precise()).messages, 2u);
}

TEST_F(PipelineTest, ARelayWithoutThePartnerIsRefusedBeforeTheIntake) {
  Pipeline& pipeline = Make();
  Job job = MakeJob(nullptr);
  job.origin.requested_partner = "acme";
  EXPECT_EQ(Wait(pipeline, std::move(job)).error().reason, Reason::kPartnerNotAllowed);
}

TEST_F(PipelineTest, DropsWhatIsLateOrCancelledBeforeTheTokenSeesIt) {
  Pipeline& pipeline = Make();
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr, std::chrono::milliseconds(-1))).error().reason, Reason::kDeadlineExceeded);
  Job job = MakeJob(nullptr);
  job.cancelled = std::make_shared<const std::atomic<bool>>(true);
  EXPECT_EQ(Wait(pipeline, std::move(job)).error().reason, Reason::kCancelled);
}

// What waits for a token is given up as well, and its place with it.
TEST_F(PipelineTest, CancelledCallsFreeTheirPlacesInTheTokensQueue) {
  Pipeline& pipeline = Make();
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  std::atomic<int> made{0}, dropped{0};
  constexpr int kJobs = 500;
  for (int i = 0; i < kJobs; ++i) {
    Job job = MakeJob([&](Result<SignedMessage> result) { ++(result ? made : dropped); });
    job.cancelled = cancelled;
    pipeline.Submit(std::move(job));
  }
  while (made == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  cancelled->store(true);
  while (made + dropped != kJobs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GT(dropped.load(), 0);
  EXPECT_EQ(pipeline.counters().in_flight, 0);
}

TEST_F(PipelineTest, StoppingTheTokensAnswersWhatWaits) {
  Pipeline& pipeline = Make();
  std::atomic<int> answered{0}, signed_or_stopped{0};
  for (int i = 0; i < 200; ++i) {
    pipeline.Submit(MakeJob([&](Result<SignedMessage> result) {
      if (result || result.error().reason == Reason::kShuttingDown) ++signed_or_stopped;
      ++answered;
    }));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  tokens_.Stop();
  while (answered != 200) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(signed_or_stopped.load(), 200);
}

// Also what comes too late for the tokens' thread to take it.
TEST_F(PipelineTest, EverythingIsAnsweredAfterTheTokensHaveStopped) {
  Pipeline& pipeline = Make();
  tokens_.Stop();
  EXPECT_EQ(Wait(pipeline, MakeJob(nullptr)).error().reason, Reason::kShuttingDown);
  EXPECT_EQ(tokens_.Generate("softhsm", link::KeyType::kEd25519, 0, {1}, "late").error().reason, Reason::kShuttingDown);
  EXPECT_TRUE(tokens_.Facts().empty());
}

}  // namespace
}  // namespace hallmark::pipeline
