#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "firmware/runtime/clock.h"
#include "signerd/watch/detector.h"

namespace hallmark::watch {

// A Monday, 0:00 UTC.
inline const std::chrono::sys_seconds kStart = std::chrono::sys_days(std::chrono::year(2026) / 1 / 5);

// Traffic of one partner for example.com, in steps of ten seconds.
class DetectorTest : public testing::Test {
 protected:
  DetectorTest() { view_.partners.emplace("acme", snapshot::Partner{"acme"}); }

  // `rate` is messages a minute at a time.
  std::vector<std::string> Run(std::chrono::seconds length,
                               const std::function<double(std::chrono::sys_seconds)>& rate) {
    std::vector<std::string> kinds;
    const std::chrono::sys_seconds end = clock_.Now() + length;
    while (clock_.Now() < end) {
      Pass(kStep);
      Tick tick;
      Count& count = tick[{"acme", domain_}];
      const double mean = rate(clock_.Now()) * kStep.count() / 60;
      count.signed_messages = mean <= 0 ? 0 : std::poisson_distribution<std::uint64_t>(mean)(random_);
      count.octets =
          count.signed_messages == 0 ? 0 : (count.signed_messages - 1) * octets_ + std::exchange(next_, octets_);
      for (std::uint64_t i = 0; i < count.signed_messages; ++i) count.authors.push_back(Author());
      if (refused_ > 0) {
        tick[{"acme", ""}].refused = std::poisson_distribution<std::uint64_t>(refused_ * kStep.count() / 60)(random_);
      }
      if (count.signed_messages == 0) tick.erase({"acme", domain_});
      for (const Alarm& alarm : in_use_->Step(tick, view_, clock_.Now(), steady_)) {
        EXPECT_EQ(alarm.partner, "acme");
        EXPECT_FALSE(alarm.message.empty());
        kinds.push_back(alarm.kind);
        last_ = alarm;
      }
    }
    return kinds;
  }
  std::vector<std::string> Steady(std::chrono::seconds length, double rate) {
    return Run(length, [=](std::chrono::sys_seconds) { return rate; });
  }
  // Both clocks go on.
  void Pass(std::chrono::seconds length) {
    clock_.Set(clock_.Now() + length);
    steady_ += length;
  }
  // Of what sets off an alert, for which the partner is suspended for an hour. Then it sends what is usual.
  std::vector<std::string> RunAndLetInAgain(std::chrono::seconds length, double rate) {
    auto kinds = Steady(length, rate);
    snapshot::Partner& acme = view_.partners.at("acme");
    acme.state = snapshot::PartnerState::kSuspended;
    octets_ = next_ = 20'000;
    first_author_ = 0;
    authors_ = 500;
    refused_ = 1;  // other than for its being suspended
    EXPECT_THAT(Steady(std::chrono::hours(1), 0), testing::IsEmpty());
    acme.state = snapshot::PartnerState::kActive;
    return kinds;
  }
  std::uint64_t Author() {
    return HashAuthor("user" + std::to_string(first_author_ + random_() % authors_) + "@example.com");
  }

  static double ByDay(std::chrono::sys_seconds now) {
    const auto of_day = now - std::chrono::floor<std::chrono::days>(now);
    return of_day >= std::chrono::hours(8) && of_day < std::chrono::hours(18) ? 50.0 : 0.0;
  }

  // An office: busy on weekdays, next to nothing at night.
  static double Office(std::chrono::sys_seconds now) {
    const auto day = std::chrono::floor<std::chrono::days>(now);
    const double hour = static_cast<double>((now - day).count()) / 3600;
    const bool weekend = std::chrono::weekday(day).iso_encoding() > 5;
    const double busy = std::exp(-(hour - 13) * (hour - 13) / 18);
    return weekend ? 3 + 10 * busy : 4 + 200 * busy;
  }

  static constexpr std::chrono::seconds kStep{10};
  snapshot::Snapshot view_;
  ManualClock clock_{kStart};
  std::chrono::steady_clock::time_point steady_;
  Settings settings_;
  Detector detector_{settings_};
  Detector* in_use_ = &detector_;
  std::mt19937_64 random_{4711};
  std::string domain_ = "example.com";
  double refused_ = 0;                              // a minute
  std::uint64_t octets_ = 20'000, next_ = octets_;  // of a message; of the next one
  std::uint64_t first_author_ = 0, authors_ = 500;
  Alarm last_;
};

}  // namespace hallmark::watch
