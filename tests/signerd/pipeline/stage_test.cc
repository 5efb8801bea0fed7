#include "signerd/pipeline/stage.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <map>
#include <set>
#include <thread>

namespace hallmark::pipeline {
namespace {

TEST(Stage, RunsEveryItemOnceWhoeverPushesIt) {
  boost::asio::thread_pool pool(4);
  std::mutex mutex;
  std::multiset<int> seen;
  std::atomic<std::size_t> largest{0}, at_once{0}, most_at_once{0};
  Stage<int> stage(pool, 3, [&](std::vector<int> batch) {
    const std::size_t now = ++at_once;
    for (std::size_t most = most_at_once; now > most && !most_at_once.compare_exchange_weak(most, now);) {
    }
    for (std::size_t most = largest; batch.size() > most && !largest.compare_exchange_weak(most, batch.size());) {
    }
    {
      const std::lock_guard lock(mutex);
      seen.insert(batch.begin(), batch.end());
    }
    --at_once;
  });
  constexpr int kThreads = 8, kEach = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        if (t % 2 == 0) {
          stage.Push(t * kEach + i);
        } else {
          stage.PushOrRun(t * kEach + i);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pool.join();
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kThreads * kEach));
  for (int i = 0; i < kThreads * kEach; ++i) ASSERT_EQ(seen.count(i), 1u) << i;
  EXPECT_LE(largest.load(), Stage<int>::kMaxBatch);
  EXPECT_LE(most_at_once.load(), 3u);
}

TEST(Stage, TakesWhatHasQueuedAsOneBatch) {
  boost::asio::thread_pool pool(1);
  std::latch first_runs(1), go_on(1);
  std::vector<std::size_t> sizes;
  Stage<int> stage(pool, 1, [&](std::vector<int> batch) {
    sizes.push_back(batch.size());
    if (sizes.size() == 1) {
      first_runs.count_down();
      go_on.wait();
    }
  });
  stage.Push(0);
  first_runs.wait();
  for (int i = 0; i < 10; ++i) stage.Push(i);
  go_on.count_down();
  pool.join();
  EXPECT_EQ(sizes, (std::vector<std::size_t>{1, 10}));
}

// On one thread what a stage has done goes on before the stage takes more.
TEST(Stage, GivesWayBetweenItsBatches) {
  boost::asio::thread_pool pool(1);
  std::latch all_pushed(1);
  std::vector<int> order;
  Stage<int> second(pool, 1, [&](const std::vector<int>&) { order.push_back(2); });
  Stage<int> first(pool, 1, [&](const std::vector<int>&) {
    order.push_back(1);
    second.Push(0);
  });
  boost::asio::post(pool, [&] { all_pushed.wait(); });
  for (std::size_t i = 0; i < 3 * Stage<int>::kMaxBatch; ++i) first.Push(0);
  all_pushed.count_down();
  pool.join();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 1, 2, 1, 2}));
}

TEST(Stage, RunsOnTheCallersThreadOnlyWhileItIsIdle) {
  boost::asio::thread_pool pool(2);
  std::latch first_runs(1), second_pushed(1);
  std::mutex mutex;
  std::map<int, std::thread::id> ran_on;
  Stage<int> stage(pool, 2, [&](std::vector<int> batch) {
    if (batch.front() == 0) {
      first_runs.count_down();
      second_pushed.wait();
    }
    const std::lock_guard lock(mutex);
    for (const int item : batch) ran_on[item] = std::this_thread::get_id();
  });
  std::thread caller([&] { stage.PushOrRun(0); });
  const std::thread::id first = caller.get_id();
  first_runs.wait();
  stage.PushOrRun(1);
  second_pushed.count_down();
  caller.join();
  pool.join();
  EXPECT_EQ(ran_on.at(0), first);
  EXPECT_NE(ran_on.at(1), std::this_thread::get_id());
}

}  // namespace
}  // namespace hallmark::pipeline
