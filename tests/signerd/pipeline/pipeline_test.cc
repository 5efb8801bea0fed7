#include "signerd/pipeline/pipeline.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <future>
#include <ostream>
#include <set>
#include <sstream>
#include <thread>

#include "ledger/unsafe_disk.h"
#include "log_text.h"
#include "sample.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/verifier.h"
#include "signerd/ledger/record_reader.h"
#include "signerd/ledger/segment.h"
#include "signerd/pipeline/records.h"
#include "soft_token.h"

// The whole way of a message but gRPC: real tokend processes on a real SoftHSM token, many threads.
namespace hallmark::pipeline {
namespace {

constexpr std::string_view kMessage =
    "From: Joe <joe@example.com>\r\nTo: suzie@example.net\r\nSubject: dinner\r\n\r\nHi.  Are you hungry yet?\r\n";

const std::filesystem::path kTokend = std::filesystem::path(HALLMARK_BIN_DIR) / "tokend";
const std::filesystem::path kFaulty = std::filesystem::path(HALLMARK_BIN_DIR) / "../tests/libfaulty_pkcs11.so";

class PipelineTest : public testing::Test {
 protected:
  // `simulate` is what the token is like, `rules` what goes wrong (faulty_pkcs11/README.md); empty: as SoftHSM is.
  explicit PipelineTest(const std::string& simulate = "", const std::string& rules = "")
      : tokens_(kTokend, {ConfigOf(token_, simulate, rules)}) {
    tokens_.Start();
    snapshot::Domain domain{"example.com", std::make_shared<const dkim::PreparedProfile>(dkim::DefaultProfile()), {}};
    domain.active_keys = {MakeKey(link::KeyType::kRsa, "r1"), MakeKey(link::KeyType::kEd25519, "e1")};
    auto view = std::make_shared<snapshot::Snapshot>();
    view->domains.emplace(domain.name, domain);
    view->relays.emplace("dns:r.example", snapshot::Relay{"r", "dns:r.example", {"own"}});
    view->partners["own"] = test::PartnerForAll("own");
    view_ = view;
    current_.Set(view_);
  }
  ~PipelineTest() override { tokens_.Stop(); }  // before the pipeline goes, as it demands

  static tokens::TokenConfig ConfigOf(const test::SoftToken& token, const std::string& simulate,
                                      const std::string& rules) {
    tokens::TokenConfig config = token.Config("softhsm");
    if (simulate.empty() && rules.empty()) return config;
    config.environment["FAULTY_PKCS11_MODULE"] = config.module;
    if (!simulate.empty()) config.environment["FAULTY_PKCS11_SIMULATE"] = simulate;
    if (!rules.empty()) {
      const auto file = config.pin_file.parent_path() / "rules";
      std::ofstream(file) << rules;
      config.environment["FAULTY_PKCS11_CONTROL"] = file;
    }
    config.module = kFaulty;
    return config;
  }
  std::unique_ptr<ledger::Ledger> OpenLedger() {
    ledger::LedgerConfig config;
    config.directory = folder_.path() / "ledger";
    config.open = disk_.opener();
    return std::move(*ledger::Ledger::Open(config, clock_));
  }
  // All that is on the ledger.
  std::vector<hallmark::ledger::v1::Record> Records() const {
    std::vector<hallmark::ledger::v1::Record> records;
    auto reader = ledger::SegmentReader::Open(ledger::SegmentPath(ledger_->directory(), 0));
    while (const auto octets = *reader->Next()) {
      EXPECT_TRUE(records.emplace_back().ParseFromArray(octets->data(), static_cast<int>(octets->size())));
    }
    return records;
  }

  Pipeline& Make(const PipelineConfig& config = {}) {
    return pipeline_.emplace(config, tokens_, clock_, current_, quotas_, *ledger_, recipients_, Reader());
  }
  ReadRecord Reader() const {
    return [this](std::uint64_t sequence) -> Result<std::string> {
      ledger::RecordReader reader(ledger_->directory());
      const auto octets = reader.Read(sequence);
      if (!octets) return octets.error();
      return std::string(*octets);
    };
  }

  std::shared_ptr<const snapshot::Key> MakeKey(link::KeyType type, const std::string& selector) {
    auto key = test::SampleKey("example.com", selector);
    Result<link::KeyReply> reply = MakeError(Reason::kTokenDown, "");
    // The token is being logged in to at first.
    for (int i = 0; i < 1200 && !reply; ++i) {
      reply = tokens_.Generate("softhsm", type, 2048, key.cka_id, selector);
      if (!reply) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    EXPECT_TRUE(reply) << reply.error().message;
    key.public_key = std::make_shared<const dkim::PublicKey>(std::move(*dkim::PublicKey::FromSpki(reply->spki)));
    return std::make_shared<const snapshot::Key>(std::move(key));
  }

  // The snapshot with another partner "own".
  std::shared_ptr<const snapshot::Snapshot> With(const snapshot::Partner& own) const {
    auto view = std::make_shared<snapshot::Snapshot>(*view_);
    view->partners["own"] = own;
    return view;
  }

  Job MakeJob(std::function<void(Result<SignedMessage>)> done,
              std::chrono::milliseconds wait = std::chrono::seconds(30)) const {
    Origin origin{view_, view_->FindRelay("dns:r.example"), "", "", {}};
    return {origin, kMessage, std::chrono::steady_clock::now() + wait, nullptr, std::move(done)};
  }
  static Result<SignedMessage> Wait(Pipeline& pipeline, Job job) {
    std::promise<Result<SignedMessage>> promise;
    job.done = [&](Result<SignedMessage> result) { promise.set_value(std::move(result)); };
    auto answer = promise.get_future();
    pipeline.Submit(std::move(job));
    return answer.get();
  }
  void ExpectVerifies(const SignedMessage& made) const {
    std::string message;
    for (const MadeSignature& signature : made.signatures) message += signature.field;
    message += kMessage;
    const auto lookup = [&](const std::string& name) -> Result<std::vector<std::string>> {
      for (const auto& key : view_->FindDomain("example.com")->active_keys) {
        if (name == key->selector + "._domainkey.example.com")
          return std::vector{dkim::KeyRecordValue(*key->public_key)};
      }
      return MakeError(Reason::kNotFound, name);
    };
    const auto verdicts = dkim::VerifyMessage(message, lookup, clock_.Now());
    ASSERT_TRUE(verdicts);
    ASSERT_EQ(verdicts->size(), 2u);
    for (const auto& verdict : *verdicts) EXPECT_EQ(verdict.verdict, dkim::Verdict::kPass) << verdict.reason;
  }
  // Submits from several threads and counts the answers by reason; "" is a signature.
  std::map<std::string, int> Load(Pipeline& pipeline, int threads, int each) const {
    std::mutex mutex;
    std::condition_variable done;
    std::map<std::string, int> answers;
    int answered = 0;
    std::vector<std::thread> callers;
    for (int t = 0; t < threads; ++t) {
      callers.emplace_back([&] {
        for (int i = 0; i < each; ++i) {
          pipeline.Submit(MakeJob([&](Result<SignedMessage> result) {
            const std::lock_guard lock(mutex);
            ++answers[result ? "" : std::string(ReasonName(result.error().reason))];
            ++answered;
            done.notify_all();
          }));
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return answered == threads * each; });
    return answers;
  }

  const test::SoftToken token_{kTokend};
  tokens::TokenSet tokens_;
  const SystemClock clock_;
  std::shared_ptr<const snapshot::Snapshot> view_;  // that jobs come with
  snapshot::Current current_{nullptr};
  admission::Quotas quotas_;
  const test::TemporaryFolder folder_;
  ledger::test::UnsafeDisk disk_;
  const std::unique_ptr<ledger::Ledger> ledger_ = OpenLedger();
  const ledger::Recipients recipients_ = *ledger::Recipients::Open(ledger::Recipients::Mode::kClear, folder_.path());
  std::optional<Pipeline> pipeline_;
};

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
