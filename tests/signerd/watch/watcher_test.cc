#include "signerd/watch/watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sample.h"
#include "signerd/store/sqlite.h"

namespace hallmark::watch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

// A watcher of one partner, "acme", with a store whose disk, a ledger and a policy that can fail.
class WatcherTest : public testing::Test {
 protected:
  WatcherTest() : database_(*store::Database::Open(path_)) {
    Set(snapshot::PartnerState::kActive);
    Start({});
  }

  void Start(const Settings& settings) {
    watcher_.reset();
    watcher_ = std::make_unique<Watcher>(Watcher::Parts{
        .settings = settings,
        .traffic = traffic_,
        .store = *store_,
        .snapshot = current_,
        .clock = clock_,
        .journal = [this](const hallmark::ledger::v1::Record& record) { return Journal(record); },
        .suspend = [this](const std::string&) { return Suspend(); },
        .ledger_trouble =
            [this] {
              const std::lock_guard lock(mutex_);
              ++ledger_looks_;
              return ledger_trouble_;
            },
        .stuck_rotations = [] { return std::map<std::string, std::string>(); },
        .health_troubles =
            [this] {
              const std::lock_guard lock(mutex_);
              return troubles_;
            },
        .webhook = nullptr,
    });
  }

  void Set(snapshot::PartnerState state) {
    auto view = std::make_shared<snapshot::Snapshot>();
    snapshot::Partner acme{"acme", state};
    acme.watch = {{"HARD_LIMIT"}, 3};
    view->partners.insert_or_assign("acme", acme);
    current_.Set(std::move(view));
  }
  Status Journal(const hallmark::ledger::v1::Record& record) {
    const std::lock_guard lock(mutex_);
    ++journal_calls_;
    if (!ledger_takes_) return MakeError(Reason::kLedgerUnavailable, "no room");
    journal_.push_back(record.alert().kind() + " " + record.alert().action());
    return Ok();
  }
  Status Suspend() {
    const std::lock_guard lock(mutex_);
    ++suspend_calls_;
    if (!policy_takes_) return MakeError(Reason::kStorageFailed, "no room");
    Set(snapshot::PartnerState::kSuspended);
    return Ok();
  }
  // As a full disk would: what is there can be read, nothing is taken.
  void FailStore() {
    ASSERT_TRUE(database_.Execute(
        "CREATE TRIGGER full BEFORE INSERT ON alert BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"));
  }
  void MendStore() { ASSERT_TRUE(database_.Execute("DROP TRIGGER full")); }
  void FailMarks() {
    ASSERT_TRUE(database_.Execute(
        "CREATE TRIGGER marks BEFORE UPDATE ON alert BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"));
  }
  void MendMarks() { ASSERT_TRUE(database_.Execute("DROP TRIGGER marks")); }
  void SetLedgerTrouble(const std::string& why) {
    const std::lock_guard lock(mutex_);
    ledger_trouble_ = why;
    ledger_looks_ = 0;
  }
  // Waits until it has seen what it is told last.
  void AwaitLook(int looks = 2) {
    ASSERT_TRUE(Eventually([&] { return Locked(ledger_looks_) >= looks; }));
  }
  void SetTrouble(const std::string& why) {
    const std::lock_guard lock(mutex_);
    troubles_ = {{"disk", why}};
  }
  template <class T>
  T Locked(const T& value) {
    const std::lock_guard lock(mutex_);
    return value;
  }
  // Each alert's kind and action, the oldest first.
  std::vector<std::string> Alerts() {
    std::vector<std::string> alerts;
    const auto rows = store_->ListAlerts(false, 0, 100);
    EXPECT_TRUE(rows);
    if (!rows) return alerts;
    for (const store::AlertRow& row : *rows) alerts.insert(alerts.begin(), row.kind + " " + row.action);
    return alerts;
  }
  void Send(int messages, const std::string& partner = "acme") {
    pipeline::Answered answered;
    answered.partner = partner;
    answered.signing_domain = "example.com";
    answered.author = "a@example.com";
    for (int i = 0; i < messages; ++i) traffic_.Add(answered);
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "hallmark.db";
  const std::unique_ptr<store::Store> store_ = *store::Store::Open(path_);
  store::Database database_;  // beside it, to have it fail
  Traffic traffic_;
  snapshot::Current current_{std::make_shared<const snapshot::Snapshot>()};
  const SystemClock clock_;
  std::mutex mutex_;  // guards what follows
  std::map<std::string, std::string> troubles_;
  std::string ledger_trouble_;
  std::vector<std::string> journal_;
  int journal_calls_ = 0, suspend_calls_ = 0, ledger_looks_ = 0;
  bool ledger_takes_ = true, policy_takes_ = true;
  std::unique_ptr<Watcher> watcher_;  // last: it uses the others
};

TEST_F(WatcherTest, WhatIsWrongWithTheLedgerIsAnAlertInItsOwnWords) {
  SetLedgerTrouble("the sink is down");
  ASSERT_TRUE(Eventually([&] { return Alerts().size() == 1; }));
  EXPECT_EQ(store_->ListAlerts(false, 0, 1)->front().message, "the sink is down");
  watcher_->Stop();
  EXPECT_THAT(Alerts(), ElementsAre("LEDGER_UNAVAILABLE ")) << "an event alerts once";
}

// A required sink that is slow takes a record and is late for the next, that of the alert too.
TEST_F(WatcherTest, TroubleOfTheLedgerThatComesAndGoesIsOneAlert) {
  for (int i = 0; i < 2; ++i) {
    SetLedgerTrouble("the sink is down");
    AwaitLook();
    SetLedgerTrouble("");
    AwaitLook();
  }
  watcher_->Stop();
  EXPECT_THAT(Alerts(), ElementsAre("LEDGER_UNAVAILABLE "));
}

TEST_F(WatcherTest, TroubleOfTheLedgerThatComesAgainAndStaysIsAnotherAlert) {
  Start({.cool_down = 180s});
  SetLedgerTrouble("the sink is down");
  AwaitLook();
  SetLedgerTrouble("");
  AwaitLook();
  SetLedgerTrouble("the disk is full");
  AwaitLook();
  EXPECT_EQ(Alerts().size(), 1u);
  ASSERT_TRUE(Eventually([&] { return Alerts().size() == 2; }));
  EXPECT_EQ(store_->ListAlerts(false, 0, 1)->front().message, "the disk is full");
}

TEST_F(WatcherTest, TroubleOfTheLedgerAfterTheCoolDownIsAnotherAlert) {
  Start({.cool_down = 3s});
  SetLedgerTrouble("the sink is down");
  std::this_thread::sleep_for(4s);
  AwaitLook();
  EXPECT_EQ(Alerts().size(), 1u) << "it lasts";
  SetLedgerTrouble("");
  AwaitLook();
  std::this_thread::sleep_for(4s);
  SetLedgerTrouble("the sink is down");
  ASSERT_TRUE(Eventually([&] { return Alerts().size() == 2; }));
}

// Both lie on the disk that the alert may be about.
TEST_F(WatcherTest, AnAlertThatNeitherStoreNorLedgerTakesIsKeptUntilTheyDo) {
  FailStore();
  {
    const std::lock_guard lock(mutex_);
    ledger_takes_ = false;
    troubles_ = {{"disk", "the disk is full"}};
  }
  ASSERT_TRUE(Eventually([&] { return Locked(journal_calls_) >= 2; }));
  EXPECT_TRUE(Alerts().empty());
  {
    const std::lock_guard lock(mutex_);
    ledger_takes_ = true;
  }
  MendStore();
  EXPECT_TRUE(Eventually([&] { return !Alerts().empty() && !Locked(journal_).empty(); }));
  watcher_->Stop();
  EXPECT_THAT(Alerts(), ElementsAre("HEALTH "));
  EXPECT_THAT(journal_, ElementsAre("HEALTH "));
}

TEST_F(WatcherTest, AnAlertThatTheStoreDoesNotTakeIsOnTheLedgerAtOnceAndOnce) {
  FailStore();
  SetTrouble("the database cannot be written");
  ASSERT_TRUE(Eventually([&] { return !Locked(journal_).empty(); }));
  EXPECT_TRUE(Alerts().empty());
  MendStore();
  EXPECT_TRUE(Eventually([&] { return !Alerts().empty(); }));
  watcher_->Stop();
  EXPECT_THAT(Alerts(), ElementsAre("HEALTH "));
  EXPECT_THAT(journal_, ElementsAre("HEALTH "));
  EXPECT_TRUE(store_->AlertsToJournal()->empty());
}

TEST_F(WatcherTest, AnAlertIsOnTheLedgerOnceThoughTheStoreDoesNotNoteThat) {
  FailMarks();
  SetTrouble("the disk is full");
  ASSERT_TRUE(Eventually([&] { return !Locked(journal_).empty(); }));
  SetLedgerTrouble("");
  AwaitLook(3);
  MendMarks();
  EXPECT_TRUE(Eventually([&] { return store_->AlertsToJournal()->empty(); }));
  watcher_->Stop();
  EXPECT_THAT(journal_, ElementsAre("HEALTH "));
}

TEST_F(WatcherTest, AnAlertThatTheStoreTakesLateIsOnTheLedgerOnceThoughTheStoreDoesNotNoteThat) {
  FailStore();
  FailMarks();
  SetTrouble("the disk is full");
  ASSERT_TRUE(Eventually([&] { return !Locked(journal_).empty(); }));
  MendStore();
  ASSERT_TRUE(Eventually([&] { return !Alerts().empty(); }));
  SetLedgerTrouble("");
  AwaitLook(3);
  MendMarks();
  EXPECT_TRUE(Eventually([&] { return store_->AlertsToJournal()->empty(); }));
  watcher_->Stop();
  EXPECT_THAT(journal_, ElementsAre("HEALTH "));
}

TEST_F(WatcherTest, AStoreThatTakesAlertsHasAllOfOneLook) {
  constexpr std::size_t kPartners = 750;
  watcher_.reset();
  auto view = std::make_shared<snapshot::Snapshot>();
  for (std::size_t i = 0; i < kPartners; ++i) {
    const std::string name = "p" + std::to_string(i);
    snapshot::Partner partner{name, snapshot::PartnerState::kActive};
    partner.watch.hard_limit_per_minute = 3;
    view->partners.insert_or_assign(name, partner);
    Send(10, name);
  }
  current_.Set(std::move(view));
  SetTrouble("the disk is slow");
  Start({.learning = 0s, .min_volume = 1});
  // A surge and a hard limit each, and then what is wrong with the box.
  const auto all = [&] { return store_->ListAlerts(false, 0, 5000)->size() >= 2 * kPartners + 1; };
  EXPECT_TRUE(Eventually(all));
  EXPECT_EQ(store_->ListAlerts(false, 0, 1)->front().kind, "HEALTH");
}

TEST_F(WatcherTest, WhatWasLearntIsKeptOnceTheStoreTakesIt) {
  Start({.save_interval = 0s});
  ASSERT_TRUE(database_.Execute(
      "CREATE TRIGGER profiles BEFORE INSERT ON watch_profile BEGIN SELECT RAISE(ABORT, 'disk is full'); END"));
  Send(1);
  SetLedgerTrouble("");
  AwaitLook(3);  // one that has taken it, and tried to save it
  EXPECT_TRUE(store_->GetWatchProfiles()->empty());
  ASSERT_TRUE(database_.Execute("DROP TRIGGER profiles"));
  EXPECT_TRUE(Eventually([&] { return store_->GetWatchProfiles()->size() == 2; }));  // the partner and its domain
}

TEST_F(WatcherTest, ASuspensionThatFailsIsTriedAgainAndTold) {
  {
    const std::lock_guard lock(mutex_);
    policy_takes_ = false;
  }
  Send(10);
  ASSERT_TRUE(Eventually([&] { return Locked(suspend_calls_) >= 2; }));
  {
    const std::lock_guard lock(mutex_);
    policy_takes_ = true;
  }
  ASSERT_TRUE(Eventually([&] { return Alerts().size() == 2; }));
  watcher_->Stop();
  EXPECT_THAT(Alerts(), ElementsAre("HARD_LIMIT ", "HARD_LIMIT SUSPENDED"));
  EXPECT_EQ(current_.Get()->FindPartner("acme")->state, snapshot::PartnerState::kSuspended);
}

TEST_F(WatcherTest, APartnerThatFloodsAgainAfterItWasLetInIsSuspendedAgain) {
  Send(10);
  ASSERT_TRUE(Eventually([&] { return Alerts().size() == 1; }));
  Set(snapshot::PartnerState::kActive);
  ASSERT_TRUE(Eventually([&] {
    Send(10);
    return Alerts().size() == 2;
  }));
  watcher_->Stop();
  EXPECT_THAT(Alerts(), ElementsAre("HARD_LIMIT SUSPENDED", "HARD_LIMIT SUSPENDED"));
  EXPECT_EQ(suspend_calls_, 2);
}

}  // namespace
}  // namespace hallmark::watch
