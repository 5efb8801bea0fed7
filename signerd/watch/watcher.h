#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/metrics.h"
#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/store/store.h"
#include "signerd/watch/detector.h"
#include "signerd/watch/settings.h"
#include "signerd/watch/stuck_rotations.h"
#include "signerd/watch/traffic.h"
#include "signerd/watch/webhook.h"

namespace hallmark::watch {

// Looks at the traffic and the ledger once a second, and sees to each alert: suspends the partner where its policy says
// so, keeps it in the store and on the ledger, counts it, has the webhook told. What cannot be done is tried again each
// second. A thread of its own.
class Watcher {
 public:
  struct Parts {
    Settings settings;
    Traffic& traffic;
    store::Store& store;
    const snapshot::Current& snapshot;
    const Clock& clock;
    // Puts it on the ledger; durable on return. Where it fails it is not there: what comes late is put on it once.
    std::function<Status(const hallmark::ledger::v1::Record&)> journal;
    // Suspends an active partner.
    std::function<Status(const std::string& partner)> suspend;
    // Why nothing can be put on the ledger, in one sentence; empty where it can. Does not wait.
    std::function<std::string()> ledger_trouble;
    // Domains whose keys cannot rotate, and why, in one sentence each. Does not wait.
    std::function<std::map<std::string, std::string>()> stuck_rotations;
    // What of the box is wrong for long enough, by its reading's name: a sentence each. Does not wait.
    std::function<std::map<std::string, std::string>()> health_troubles;
    Webhook* webhook;  // null: none
  };
  // Takes up what was learnt before.
  explicit Watcher(const Parts& parts);
  // Looks once more, and keeps what was learnt. Safe to repeat.
  void Stop();
  ~Watcher() { Stop(); }

  void Write(MetricWriter& out) const;

 private:
  void Run(const std::stop_token& stop);
  void Look();
  void LookAtLedger(const snapshot::Snapshot& view);
  void LookAtRotations(const snapshot::Snapshot& view);
  void LookAtHealth(const snapshot::Snapshot& view);
  void See(const Alarm& alarm, const snapshot::Snapshot& view);
  std::string Act(const Alarm& alarm, const snapshot::Snapshot& view);
  void Keep(const Alarm& alarm, const std::string& action);
  void SuspendWaiting(const snapshot::Snapshot& view);
  void StoreWaiting();
  void JournalWaiting();
  void Save();

  struct Unstored {
    store::AlertRow row;
    bool journaled = false;
  };
  const Parts parts_;
  Detector detector_;                        // of the thread, as is what follows
  std::deque<Unstored> unstored_;            // alerts that are not in the store yet
  bool store_takes_ = true;                  // what was last given to it
  bool may_store_ = true;                    // it has taken all that it was given in this look
  std::set<std::uint64_t> journaled_;        // alerts on the ledger of which the store does not know that
  std::map<std::string, Alarm> to_suspend_;  // partners that could not be suspended, and for what they should be
  bool to_journal_ = true;                   // alerts may stand in the store that are not on the ledger yet
  // Trouble of the ledger: when the present one began, when there was some last, whether there had been some within the
  // cool-down when it began, and whether it has been told.
  struct {
    std::optional<std::chrono::steady_clock::time_point> began, last;
    bool recent = false, told = false;
  } ledger_;
  StuckRotations stuck_;
  std::set<std::string> unwell_;  // readings of the box that an alert was raised for and that are not better since
  static constexpr std::size_t kKindCount = 11;
  std::array<std::atomic<std::uint64_t>, kKindCount> raised_{};  // by kKinds
  std::atomic<std::uint64_t> suspended_{0};
  std::jthread thread_;
};

}  // namespace hallmark::watch
