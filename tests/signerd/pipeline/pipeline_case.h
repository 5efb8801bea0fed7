#pragma once

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
#include "signerd/pipeline/pipeline.h"
#include "signerd/pipeline/records.h"
#include "soft_token.h"

// The whole way of a message but gRPC: real tokend processes on a real SoftHSM token, many threads.
namespace hallmark::pipeline {

inline constexpr std::string_view kMessage =
    "From: Joe <joe@example.com>\r\nTo: suzie@example.net\r\nSubject: dinner\r\n\r\nHi.  Are you hungry yet?\r\n";

inline const std::filesystem::path kTokend = std::filesystem::path(HALLMARK_BIN_DIR) / "tokend";
inline const std::filesystem::path kFaulty = std::filesystem::path(HALLMARK_BIN_DIR) / "../tests/libfaulty_pkcs11.so";

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
    Origin origin{view_, view_->FindRelay("dns:r.example"), "", "", {}, ""};
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

}  // namespace hallmark::pipeline
