#include "signerd/keys/schedule.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>

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
  Schedule schedule([&](const std::string&) { return NextLook{clock.Now() + (++looks < 3 ? 1s : 1h)}; }, clock);
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
        return NextLook{clock.Now() + 1h};
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
        return NextLook{clock.Now() + 1h};
      },
      clock);
  schedule.Poke("slow");
  for (int i = 0; i < 100; ++i) schedule.Poke("d" + std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return others == 100; }));
  release = true;
  release.notify_all();
}

// What was due in a day by the old clock is looked at by the new one.
TEST(Schedule, AClockThatGoesBackHasEveryDomainLookedAt) {
  ManualClock clock{std::chrono::sys_seconds(10'000'000s)};
  std::mutex mutex;
  std::map<std::string, int> looks;
  const auto count = [&](const std::string& domain) {
    const std::lock_guard lock(mutex);
    return looks[domain];
  };
  Schedule schedule(
      [&](const std::string& domain) {
        const std::lock_guard lock(mutex);
        ++looks[domain];
        return NextLook{clock.Now() + 24h};
      },
      clock, 1);
  schedule.Poke("a");
  schedule.Poke("b");
  EXPECT_TRUE(Eventually([&] { return count("a") == 1 && count("b") == 1; }));
  clock.Set(clock.Now() - 240h);
  schedule.Poke("c");
  EXPECT_TRUE(Eventually([&] { return count("a") == 2 && count("b") == 2 && count("c") == 1; }));
}

TEST(Schedule, ADomainThatIsLookedAtWhileTheClockGoesBackIsLookedAtAgain) {
  ManualClock clock{std::chrono::sys_seconds(10'000'000s)};
  std::atomic<bool> release{false};
  std::atomic<int> slow{0}, others{0};
  Schedule schedule(
      [&](const std::string& domain) {
        const auto next = clock.Now() + 24h;
        if (domain != "slow") {
          ++others;
        } else if (++slow == 1) {
          release.wait(false);
        }
        return NextLook{next};
      },
      clock);
  schedule.Poke("slow");
  schedule.Poke("other");
  EXPECT_TRUE(Eventually([&] { return slow == 1 && others == 1; }));
  clock.Set(clock.Now() - 240h);
  schedule.Poke("third");
  EXPECT_TRUE(Eventually([&] { return others == 3; })) << "that the clock went back is not noticed";
  release = true;
  release.notify_all();
  EXPECT_TRUE(Eventually([&] { return slow == 2; }));
}

// An emergency must not wait until name servers answer.
TEST(Schedule, WhatIsAskedForIsDoneThoughAllElseIsSlow) {
  const SystemClock clock;
  std::atomic<bool> release{false};
  std::atomic<int> asked{0};
  Schedule schedule(
      [&](const std::string& domain) {
        domain == "asked" ? static_cast<void>(++asked) : release.wait(false);
        return NextLook{clock.Now() + 1h};
      },
      clock);
  for (unsigned i = 0; i < 2 * Schedule::kThreads; ++i) schedule.Queue("slow" + std::to_string(i));
  for (int i = 1; i <= 20 && asked == i - 1; ++i) {  // more than a thread does before it takes what is slow
    schedule.Poke("asked");
    EXPECT_TRUE(Eventually([&] { return asked == i; }));
  }
  release = true;
  release.notify_all();
}

// What is asked for while there are more urgent domains than threads, and from its look `slow_from` on each hangs.
void AskAgainAndAgain(int slow_from, void (Schedule::*enter)(const std::string&)) {
  const SystemClock clock;
  std::atomic<bool> release{false};
  std::atomic<unsigned> slow{0};
  std::atomic<int> asked{0};
  std::mutex mutex;
  std::map<std::string, int> looks;
  const auto count = [&](const std::string& domain) {
    const std::lock_guard lock(mutex);
    return ++looks[domain];
  };
  Schedule schedule(
      [&](const std::string& domain) {
        if (domain == "asked") {
          ++asked;
          return NextLook{clock.Now() + 1h};
        }
        if (count(domain) >= slow_from) {
          ++slow;
          release.wait(false);
        }
        return NextLook{clock.Now() + (release ? 1h : 0h), true};
      },
      clock);
  for (unsigned i = 0; i < 2 * Schedule::kThreads; ++i) (schedule.*enter)("slow" + std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return slow >= Schedule::kThreads - 1; }));
  for (int i = 1; i <= 20 && asked == i - 1; ++i) {  // more than a thread does before it takes what is slow
    schedule.Poke("asked");
    EXPECT_TRUE(Eventually([&] { return asked == i; }));
  }
  release = true;
  release.notify_all();
}

// Nor until those of other emergencies do.
TEST(Schedule, WhatIsAskedForIsDoneThoughAllThatIsUrgentIsSlow) { AskAgainAndAgain(2, &Schedule::Poke); }

// As after a restart, with emergencies whose name servers are silent from the first.
TEST(Schedule, WhatIsAskedForIsDoneThoughTheFirstLookAtAllThatIsUrgentIsSlow) {
  AskAgainAndAgain(1, &Schedule::QueueUrgent);
}

// What was revoked by hand stays urgent until its name servers answer, which may be weeks.
TEST(Schedule, WhatIsDueIsLookedAtThoughMuchIsUrgentAgainAndAgain) {
  const SystemClock clock;
  std::atomic<bool> release{false};
  std::atomic<unsigned> urgent{0};
  std::atomic<int> others{0};
  Schedule schedule(
      [&](const std::string& domain) {
        if (domain.starts_with("urgent")) {
          ++urgent;
          return NextLook{clock.Now() + (release ? 1h : 0h), true};
        }
        ++others;
        return NextLook{clock.Now() + 1h};
      },
      clock);
  constexpr unsigned kUrgent = 4 * Schedule::kThreads;  // there is always one that is due
  for (unsigned i = 0; i < kUrgent; ++i) schedule.QueueUrgent("urgent" + std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return urgent >= kUrgent; }));
  for (int i = 0; i < 20; ++i) schedule.Queue("other" + std::to_string(i));
  EXPECT_TRUE(Eventually([&] { return others == 20; }));
  release = true;
}

// Where nothing could be read of it, what was asked for is no less urgent.
TEST(Schedule, ALookThatFailedIsAsUrgentTheNextTime) {
  const SystemClock clock;
  std::atomic<bool> release{false};
  std::atomic<int> looks{0};
  Schedule schedule(
      [&](const std::string& domain) {
        if (domain != "asked") {
          release.wait(false);
        } else if (++looks < 3) {
          return NextLook{clock.Now() + 1s, false, true};
        }
        return NextLook{clock.Now() + 1h};
      },
      clock);
  for (unsigned i = 0; i < 2 * Schedule::kThreads; ++i) schedule.Queue("slow" + std::to_string(i));
  schedule.Poke("asked");
  EXPECT_TRUE(Eventually([&] { return looks == 3; }));
  release = true;
  release.notify_all();
}

// Nor may what comes after its first step.
TEST(Schedule, WhatIsUrgentIsLookedAtAgainThoughAllElseIsSlow) {
  const SystemClock clock;
  std::atomic<bool> release{false};
  std::atomic<int> looks{0};
  Schedule schedule(
      [&](const std::string& domain) {
        if (domain != "urgent") release.wait(false);
        return NextLook{clock.Now() + (domain != "urgent" || ++looks == 3 ? 1h : 1s), domain == "urgent"};
      },
      clock);
  for (unsigned i = 0; i < 2 * Schedule::kThreads; ++i) schedule.Queue("slow" + std::to_string(i));
  schedule.Poke("urgent");
  EXPECT_TRUE(Eventually([&] { return looks == 3; }));
  release = true;
  release.notify_all();
}

TEST(Schedule, WhatIsAskedForGoesBeforeWhatIsDue) {
  const SystemClock clock;
  std::atomic<bool> begun{false}, release{false};
  std::mutex mutex;
  std::vector<std::string> order;
  Schedule schedule(
      [&](const std::string& domain) {
        begun = true;
        release.wait(false);
        const std::lock_guard lock(mutex);
        order.push_back(domain);
        return NextLook{clock.Now() + 1h};
      },
      clock, 1);
  schedule.Queue("first");
  EXPECT_TRUE(Eventually([&] { return begun.load(); }));
  for (const char* domain : {"a", "b", "c"}) schedule.Queue(domain);
  schedule.Poke("z");
  schedule.Poke("first");
  release = true;
  release.notify_all();
  EXPECT_TRUE(Eventually([&] {
    const std::lock_guard lock(mutex);
    return order.size() == 6;
  }));
  schedule.Stop();
  EXPECT_EQ(order, (std::vector<std::string>{"first", "first", "z", "a", "b", "c"}));
}

// And a jump forward makes due what is then due.
TEST(Schedule, AClockThatJumpsForwardIsFollowed) {
  ManualClock clock{std::chrono::sys_seconds(10'000'000s)};
  std::atomic<int> looks{0};
  Schedule schedule(
      [&](const std::string&) {
        ++looks;
        return NextLook{clock.Now() + 24h};
      },
      clock, 1);
  schedule.Poke("a");
  EXPECT_TRUE(Eventually([&] { return looks == 1; }));
  clock.Set(clock.Now() + 25h);
  EXPECT_TRUE(Eventually([&] { return looks == 2; }));
}

}  // namespace
}  // namespace hallmark::keys
