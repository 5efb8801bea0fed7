#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "firmware/health/report.h"
#include "firmware/runtime/clock.h"
#include "firmware/runtime/metrics.h"
#include "signerd/health/self_test.h"
#include "signerd/health/settings.h"

namespace hallmark::health {

// How the daemon and its box are: test signatures in every token, and what hallmark-health reports. A thread of its own
// looks once a second; the rest may be called from any thread and does not wait for it.
class Health {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Parts {
    Settings settings;
    SelfTest& self_test;
    std::function<std::vector<tokens::TokenFacts>()> tokens;
    const Clock& clock;
    // A time that has certainly passed: that of the ledger's last record at the start. 0: none is known.
    std::chrono::sys_seconds not_before{};
    // Where all readings are written, for the console and for whoever asks whether this daemon signs. Empty: nowhere.
    std::filesystem::path published;
  };
  explicit Health(const Parts& parts);
  ~Health() { Stop(); }

  void Start();
  // Takes back what was published. Safe to repeat.
  void Stop();
  // What the thread does once a second. For tests, instead of Start().
  void Look(Time now);

  Report Current() const;
  // Whether the last test signature in the token failed.
  bool SignsNot(const std::string& token) const;
  // While the clock is not synchronised, or wrong.
  const std::atomic<bool>& clock_not_set() const { return clock_not_set_; }
  // While hallmark-health is to say whether the clock is set, and has not: for three minutes from the start at most.
  const std::atomic<bool>& awaits_clock() const { return awaits_clock_; }
  // What is wrong for so long that somebody should be told, by the reading's name: a sentence.
  std::map<std::string, std::string> Troubles() const;
  // When the thread last came round. It waits for tokens, each at most for a minute.
  Time last_look() const { return last_look_.load(); }
  // Whether it was told, once: a token signs, or of each it is known why not. Where none is tested, from the first
  // look.
  const std::atomic<bool>& told() const { return told_; }
  // For systemctl status: "signs in 2 of 2 tokens; warning: clock: ...".
  std::string Line() const;

  void Write(MetricWriter& out) const;

 private:
  struct Test {
    Reading reading;
    link::TokenState state = link::TokenState::kStarting;  // the token's, at the last look
    bool sick = false;
    Time due{};
  };
  void Run(const std::stop_token& stop);
  // Whether it is known of each token whether it signs, or of one that it does.
  bool TestTokens(Time now);
  void ReadSensors(Time now);
  std::optional<Reading> ReadClock() const;
  void Take(Report report, Time now);

  const Parts parts_;
  // Of the thread.
  std::map<std::string, Test> tests_;
  Report sensors_;
  Time sensors_due_{}, publish_due_{};
  bool unpublished_ = false;  // which was logged
  const Time started_;

  std::atomic<bool> clock_not_set_{false}, awaits_clock_, told_{false};
  std::atomic<Time> last_look_;
  mutable std::mutex mutex_;  // guards what follows, up to the thread
  Report current_;
  Time looked_{};                      // when that was
  std::map<std::string, Time> since_;  // since when a reading is such that an alert is due
  std::jthread thread_;
};

}  // namespace hallmark::health
