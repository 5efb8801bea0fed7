#include "pipeline_case.h"

// What is told of each message, whose turn it is, and what is refused at once.
namespace hallmark::pipeline {
namespace {

// What the pipeline tells of each message; the watcher lives by it.
class Told : public Observer {
 public:
  struct One {
    std::string partner, relay, signing_domain, author;
    std::uint64_t octets;
    std::size_t recipients;
    std::optional<Reason> refusal;
    bool fewer_signatures;
    bool operator==(const One&) const = default;
  };

  void OnAnswer(const Answered& answered) noexcept override {
    const std::lock_guard lock(mutex_);
    told_.push_back({std::string(answered.partner), std::string(answered.relay), std::string(answered.signing_domain),
                     std::string(answered.author), answered.octets, answered.recipients, answered.refusal,
                     answered.fewer_signatures});
    stamps_ = answered.stamps;
  }
  void OnBatch(std::size_t messages) noexcept override {
    const std::lock_guard lock(mutex_);
    in_batches_ += messages;
  }
  // The last one.
  One Last() {
    const std::lock_guard lock(mutex_);
    return told_.back();
  }
  Stamps stamps() {
    const std::lock_guard lock(mutex_);
    return stamps_;
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return told_.size();
  }
  std::size_t in_batches() {
    const std::lock_guard lock(mutex_);
    return in_batches_;
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::vector<One> told_;
  Stamps stamps_;
  std::size_t in_batches_ = 0;
};

void PrintTo(const Told::One& one, std::ostream* out) {
  *out << one.partner << " by " << one.relay << " for " << one.signing_domain << " of " << one.author << ", "
       << one.octets << " octets, " << one.recipients << " recipients, "
       << (one.refusal ? ReasonName(*one.refusal) : "signed") << (one.fewer_signatures ? ", fewer signatures" : "");
}

TEST_F(PipelineTest, TheObserverIsToldWhoseEachMessageIs) {
  Told told;
  PipelineConfig config;
  config.observer = &told;
  Pipeline& pipeline = Make(config);
  const auto answer = [&](std::string_view message, std::string partner = "") {
    Job job = MakeJob(nullptr);
    job.message = message;
    job.origin.requested_partner = std::move(partner);
    job.origin.envelope.recipients = {"suzie@example.net", "bob@example.net"};
    Wait(pipeline, std::move(job));
    return told.Last();
  };
  EXPECT_EQ(answer(kMessage),
            (Told::One{"own", "r", "example.com", "joe@example.com", kMessage.size(), 2, std::nullopt, false}));
  const Stamps stamps = told.stamps();
  const Stamps::Time times[] = {
      {}, stamps.taken, stamps.preparing, stamps.sent, stamps.finishing, stamps.recording, stamps.answered};
  EXPECT_TRUE(std::is_sorted(std::begin(times), std::end(times)));
  EXPECT_NE(stamps.taken, Stamps::Time());
  EXPECT_EQ(answer("no colon\r\n\r\n"), (Told::One{"own", "r", "", "", 0, 2, Reason::kHeaderMalformed, false}));
  EXPECT_EQ(answer(kMessage, "acme"), (Told::One{"", "r", "", "", 0, 2, Reason::kPartnerNotAllowed, false}));
  EXPECT_EQ(told.in_batches(), 2u) << "those that were let in";

  // Of a message that is refused before it is a job.
  Origin origin = MakeJob(nullptr).origin;
  pipeline.NoteRefusal(&origin, Reason::kMessageTooLarge);
  EXPECT_EQ(told.Last(), (Told::One{"own", "r", "", "", 0, 0, Reason::kMessageTooLarge, false}));
  origin.requested_partner = "acme";
  pipeline.NoteRefusal(&origin, Reason::kPartnerNotAllowed);
  EXPECT_EQ(told.Last(), (Told::One{"", "r", "", "", 0, 0, Reason::kPartnerNotAllowed, false}));
  pipeline.NoteRefusal(nullptr, Reason::kCallerUnknown);
  EXPECT_EQ(told.Last(), (Told::One{"", "", "", "", 0, 0, Reason::kCallerUnknown, false}));
  EXPECT_EQ(told.count(), 6u);
}

class RatedToken : public PipelineTest {
 protected:
  RatedToken() : PipelineTest("sessions=4,rate=400") {}
};

// While both have more than can be done one gets three times what the other gets.
TEST_F(RatedToken, PartnersShareByWeight) {
  auto view = std::make_shared<snapshot::Snapshot>(*view_);
  view->partners["heavy"] = test::PartnerForAll("heavy");
  view->partners["heavy"].weight = 3;
  view->relays.at("dns:r.example").partners = {"own", "heavy"};
  view_ = view;
  current_.Set(view_);
  Pipeline& pipeline = Make();
  constexpr int kEach = 300;
  std::atomic<int> own{0}, heavy{0};
  for (int i = 0; i < kEach; ++i) {
    for (auto* counter : {&own, &heavy}) {
      Job job = MakeJob([counter](const Result<SignedMessage>& result) {
        EXPECT_TRUE(result);
        ++*counter;
      });
      job.origin.requested_partner = counter == &own ? "own" : "heavy";
      pipeline.Submit(std::move(job));
    }
  }
  const auto wait_for = [&](int answered) {
    while (own + heavy < answered) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return std::pair(own.load(), heavy.load());
  };
  const auto begin = wait_for(100), end = wait_for(300);
  const double of_own = end.first - begin.first, of_heavy = end.second - begin.second;
  EXPECT_NEAR(of_heavy / (of_own + of_heavy), 0.75, 0.08) << of_own << " and " << of_heavy;
  wait_for(2 * kEach);
}

class SlowToken : public PipelineTest {
 protected:
  SlowToken() : PipelineTest("rate=20") {}  // signatures a second
};

TEST_F(SlowToken, RefusesAtOnceWhatCannotMakeItsDeadline) {
  Pipeline& pipeline = Make();
  std::atomic<int> answered{0};
  constexpr int kJobs = 200;  // of two signatures: 20 s
  for (int i = 0; i < kJobs; ++i) pipeline.Submit(MakeJob([&](const Result<SignedMessage>&) { ++answered; }));
  // The pace of the token is known by then.
  while (answered < 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto late = Wait(pipeline, MakeJob(nullptr, std::chrono::seconds(5)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, Reason::kOverloaded) << late.error().message;
  tokens_.Stop();
  while (answered != kJobs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// The same where it is the processor that has too much to do.
TEST_F(PipelineTest, RefusesAtOnceWhatCannotBeHashedWithinItsDeadline) {
  PipelineConfig config;
  config.threads = 1;
  Pipeline& pipeline = Make(config);
  const std::string large = std::string(kMessage) + std::string(std::size_t{4} << 20, 'x') + "\r\n";
  std::atomic<int> answered{0}, failed{0};
  const auto job = [&](std::chrono::milliseconds wait) {
    Job made = MakeJob(nullptr, wait);
    made.message = std::string_view(large);
    return made;
  };
  constexpr int kJobs = 400;
  for (int i = 0; i < kJobs; ++i) {
    Job next = job(std::chrono::minutes(10));
    next.done = [&](const Result<SignedMessage>& result) {
      failed += !result;
      ++answered;
    };
    pipeline.Submit(std::move(next));
  }
  // Two full batches tell how long one takes.
  while (pipeline.counters().waiting > kJobs - 2 * 64 - 32) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto late = Wait(pipeline, job(std::chrono::milliseconds(20)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, Reason::kOverloaded) << late.error().message;
  while (answered != kJobs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(failed, 0);
  EXPECT_TRUE(Wait(pipeline, job(std::chrono::minutes(1)))) << "nothing waits any more";
}

class WrongToken : protected test::LogText, public PipelineTest {
 protected:
  WrongToken() : PipelineTest("", "C_Sign * corrupt\n") {}
};

TEST_F(WrongToken, GivesNothingAndDoesNotFillTheLog) {
  Pipeline& pipeline = Make();
  EXPECT_EQ(Load(pipeline, 2, 25), (std::map<std::string, int>{{"SIGNATURE_INVALID", 50}}));
  int lines = 0;
  std::istringstream log(text());
  for (std::string line; std::getline(log, line);) lines += line.find("the message is") != std::string::npos;
  EXPECT_GE(lines, 2) << text();
  EXPECT_LE(lines, 3) << text();
  EXPECT_EQ(ledger_->durable().size, 0u);
}

}  // namespace
}  // namespace hallmark::pipeline
