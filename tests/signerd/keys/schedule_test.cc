#include "signerd/keys/schedule.h"

#include <gtest/gtest.h>

#include <atomic>

namespace hallmark::keys {
namespace {

using namespace std::chrono_literals;

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

TEST(Schedule, LooksAgainWhenItWasSaid) {
  const SystemClock clock;
  std::atomic<int> looks{0};
  Schedule schedule([&](const std::string&) { return clock.Now() + (++looks < 3 ? 1s : 1h); }, clock);
  schedule.Poke("example.com");
  EXPECT_TRUE(Eventually([&] { return looks == 3; }));
  schedule.Poke("example.com");
  EXPECT_TRUE(Eventually([&] { return looks == 4; }));
}

TEST(Schedule, NeverTwiceAtATimeForOneDomain) {
  const SystemClock clock;
  std::atomic<int> inside{0}, looks{0}, most{0};
  Schedule schedule(
      [&](const std::string&) {
        most = std::max(most.load(), ++inside);
        std::this_thread::sleep_for(1ms);
        --inside;
        ++looks;
        return clock.Now() + 1h;
      },
      clock);
  for (int i = 0; i < 50; ++i) {
    schedule.Poke("example.com");
    std::this_thread::sleep_for(200us);
  }
  const int before = looks;
  schedule.Poke("example.com");
  EXPECT_TRUE(Eventually([&] { return looks > before; })) << "a poke while it was looked at was lost";
  schedule.Stop();
  EXPECT_EQ(most, 1);
}

TEST(Schedule, ASlowDomainHoldsUpNoOther) {
  const SystemClock clock;
  std::atomic<bool> release{false};
  std::atomic<int> others{0};
  Schedule schedule(
      [&](const std::string& domain) {
        if (domain == "slow") {
          release.wait(false);
        } else {
          ++others;
        }
        return clock.Now() + 1h;
      },
      clock);
  schedule.Poke("slow");
  for (int i = 0; i < 100; ++i) schedule.Poke("d" + std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return others == 100; }));
  release = true;
  release.notify_all();
}

// Wall clocks jump; what was due in a year by the old one is looked at within the hour.
TEST(Schedule, AFarTimeIsNotWaitedForBlindly) {
  ManualClock clock{std::chrono::sys_seconds(1'000'000s)};
  std::atomic<int> looks{0};
  Schedule schedule(
      [&](const std::string&) {
        ++looks;
        return clock.Now() - 1h;  // long over: again at once
      },
      clock, 1);
  schedule.Poke("example.com");
  EXPECT_TRUE(Eventually([&] { return looks > 3; }));
}

}  // namespace
}  // namespace hallmark::keys
