#include "signerd/health/health.h"

#include <algorithm>
#include <system_error>

#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"

namespace hallmark::health {
namespace {

using std::chrono::seconds;

constexpr seconds kInterval{1};
// After a failure it is tried again soon: the token may be back.
constexpr seconds kRetry{5};
constexpr seconds kSensorInterval{5}, kPublishInterval{15};
// Two clocks of one box may differ by so much, and a record is dated a moment before it is written.
constexpr seconds kTolerance{60};

// What somebody is told of: what does not work, and a clock that nobody should believe.
bool IsTrouble(const Reading& reading) {
  return reading.level() == kFailed || (reading.name() == kClock && reading.level() == kWarning);
}

// Of a test signature: the token signs.
bool IsGood(const Reading& reading) { return reading.level() == kOk || reading.level() == kWarning; }

// The same: it did not come to its end, and the next one may.
bool IsUntold(const Reading& reading) { return reading.level() == kUnknown && reading.message() != kNoKey; }

bool SameReadings(const Report& a, const Report& b) {
  return std::equal(a.readings().begin(), a.readings().end(), b.readings().begin(), b.readings().end(),
                    [](const Reading& x, const Reading& y) {
                      return x.name() == y.name() && x.level() == y.level() && x.message() == y.message();
                    });
}

}  // namespace

Health::Health(const Parts& parts)
    : parts_(parts),
      started_(std::chrono::steady_clock::now()),
      awaits_clock_(parts.settings.report_expected),
      last_look_(started_) {
  std::error_code ignored;
  if (!parts_.published.empty()) std::filesystem::remove(parts_.published, ignored);
}

void Health::Start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void Health::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  std::error_code ignored;
  if (!parts_.published.empty()) std::filesystem::remove(parts_.published, ignored);
}

void Health::Run(const std::stop_token& stop) {
  do {
    Look(std::chrono::steady_clock::now());
  } while (Pause(stop, kInterval));
}

void Health::Look(Time now) {
  const bool told = TestTokens(now);
  ReadSensors(now);
  Report report;
  report.mutable_observe_time()->set_seconds(parts_.clock.Now().time_since_epoch().count());
  for (const auto& [name, test] : tests_) *report.add_readings() = test.reading;
  for (const Reading& reading : sensors_.readings()) {
    // Whether it signs is this daemon's own word.
    if (reading.name() != kClock && !reading.name().starts_with(kSigning)) *report.add_readings() = reading;
  }
  if (const auto clock = ReadClock()) *report.add_readings() = *clock;
  Sort(report);
  Take(std::move(report), now);
  if (told) told_ = true;
  last_look_ = std::chrono::steady_clock::now();
}

bool Health::TestTokens(Time now) {
  const seconds interval = parts_.settings.test_interval;
  const seconds retry = interval.count() == 0 ? kRetry : std::min(kRetry, interval);
  bool signs = false, pending = false;
  for (const tokens::TokenFacts& token : parts_.tokens()) {
    // Where no tests are wanted, a token that waits for one to be let back gets it all the same.
    if (interval.count() == 0 && !token.sick) {
      tests_.erase(token.name);
      continue;
    }
    Test& test = tests_[token.name];
    bool changed = std::exchange(test.state, token.status.state) != token.status.state;
    changed = std::exchange(test.sick, token.sick) != token.sick || changed;
    if (now >= test.due || changed) {
      test.reading = parts_.self_test.Run(token);
      // One that is sick was too busy to tell, or is let back.
      test.due = now + (IsGood(test.reading) && !token.sick ? interval : retry);
      last_look_ = std::chrono::steady_clock::now();
    }
    signs = signs || IsGood(test.reading);
    pending = pending || IsUntold(test.reading) || test.state == link::TokenState::kStarting;
  }
  return signs || !pending;
}

void Health::ReadSensors(Time now) {
  if (now < sensors_due_) return;
  sensors_due_ = now + kSensorInterval;
  const auto read = ReadReport(parts_.settings.report);
  const auto wall = parts_.clock.Now();
  if (read && !IsStale(*read, wall)) {
    sensors_ = *read;
    return;
  }
  sensors_.Clear();
  if (read) {
    *sensors_.add_readings() = MakeReading(kSensors, kFailed, "hallmark-health says nothing any more", wall);
  } else if (read.error().reason != Reason::kNotFound) {
    *sensors_.add_readings() = MakeReading(kSensors, kFailed, read.error().message, wall);
  } else if (parts_.settings.report_expected) {
    *sensors_.add_readings() = MakeReading(kSensors, kUnknown, "there is no report of hallmark-health", wall);
  }
}

// A clock behind the ledger's last record fell back, unless it is synchronised: then it was ahead when that was
// written.
std::optional<Reading> Health::ReadClock() const {
  const Reading* reported = Find(sensors_, kClock);
  if (reported != nullptr && (reported->level() == kOk || reported->level() == kFailed)) return *reported;
  const auto now = parts_.clock.Now();
  if (now + kTolerance < parts_.not_before) {
    return MakeReading(kClock, kFailed, "the clock is wrong: it is behind the ledger's last record", now);
  }
  return reported == nullptr ? std::nullopt : std::optional(*reported);
}

void Health::Take(Report report, Time now) {
  const Reading* clock = Find(report, kClock);
  clock_not_set_ = clock != nullptr && (clock->level() == kWarning || clock->level() == kFailed);
  awaits_clock_ = awaits_clock_ && clock == nullptr && now < started_ + kStale;
  bool changed = false;
  {
    const std::lock_guard lock(mutex_);
    changed = !SameReadings(current_, report);
    for (const Reading& reading : report.readings()) {
      const Reading* before = Find(current_, reading.name());
      if (before != nullptr && before->level() == reading.level()) continue;
      if (before == nullptr && reading.level() != kFailed && reading.level() != kWarning) continue;
      log::info("health: {} is {}: {}", reading.name(), LevelName(reading.level()), reading.message());
    }
    std::erase_if(since_, [&](const auto& entry) {
      const Reading* reading = Find(report, entry.first);
      return reading == nullptr || !IsTrouble(*reading);
    });
    for (const Reading& reading : report.readings()) {
      if (IsTrouble(reading)) since_.try_emplace(reading.name(), now);
    }
    current_ = report;
    looked_ = now;
  }
  if (parts_.published.empty() || (!changed && now < publish_due_)) return;
  publish_due_ = now + kPublishInterval;
  const Status written = WriteReport(parts_.published, report);
  if (!written && !unpublished_) log::error("health: {}", written.error().message);
  unpublished_ = !written;
}

Report Health::Current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

bool Health::SignsNot(const std::string& token) const {
  const std::lock_guard lock(mutex_);
  const Reading* reading = Find(current_, std::string(kSigning) + token);
  return reading != nullptr && reading->level() == kFailed;
}

std::map<std::string, std::string> Health::Troubles() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> troubles;
  for (const auto& [name, since] : since_) {
    if (looked_ - since < parts_.settings.alert_after) continue;
    const Reading* reading = Find(current_, name);
    if (reading != nullptr) troubles[name] = name + ": " + reading->message();
  }
  return troubles;
}

std::string Health::Line() const {
  const Report report = Current();
  int tokens = 0, signing = 0;
  std::string worst;
  const Level level = Worst(report);
  for (const Reading& reading : report.readings()) {
    if (reading.name().starts_with(kSigning)) {
      ++tokens;
      if (IsGood(reading)) ++signing;
      if (worst.empty() && level == kOk && IsUntold(reading)) {
        worst = "; not told yet: " + reading.name() + ": " + reading.message();
      }
    }
    if (worst.empty() && level != kOk && reading.level() == level) {
      worst = std::string(level == kFailed ? "; failed: " : "; warning: ") + reading.name() + ": " + reading.message();
    }
  }
  return "signs in " + std::to_string(signing) + " of " + std::to_string(tokens) + " tokens" + worst;
}

void Health::Write(MetricWriter& out) const {
  const Report report = Current();
  out.Family("hallmark_health", "0 in order, 1 somebody should look, 2 does not work; missing where it cannot be told",
             prometheus::MetricType::Gauge);
  for (const Reading& reading : report.readings()) {
    if (reading.level() == kUnknown) continue;
    out.Gauge({{"name", reading.name()}}, reading.level() == kFailed ? 2 : reading.level() == kWarning ? 1 : 0);
  }
}

}  // namespace hallmark::health
