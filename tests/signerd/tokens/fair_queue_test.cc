#include "signerd/tokens/fair_queue.h"

#include <gtest/gtest.h>

#include <random>

namespace hallmark::tokens {
namespace {

struct Piece {
  std::string flow;
  int number = 0;
};

// How many pieces of each flow are among the next `count`.
std::map<std::string, int> Take(FairQueue<Piece>& queue, int count) {
  std::map<std::string, int> taken;
  for (int i = 0; i < count; ++i) ++taken[queue.Pop().flow];
  return taken;
}

TEST(FairQueue, IsFirstInFirstOutForOneFlow) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 100; ++i) queue.Push({"a", 1}, 1, {"a", i});
  EXPECT_EQ(queue.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(queue.Pop().number, i);
  EXPECT_TRUE(queue.empty());
}

TEST(FairQueue, AFloodDoesNotDelayTheOthers) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 1000; ++i) queue.Push({"flood", 1}, 1, {"flood", i});
  for (int i = 0; i < 10; ++i) queue.Push({"quiet", 1}, 1, {"quiet", i});
  EXPECT_EQ(Take(queue, 20)["quiet"], 10);
}

TEST(FairQueue, SharesByWeight) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 1000; ++i) {
    queue.Push({"three", 3}, 1, {"three", i});
    queue.Push({"one", 1}, 1, {"one", i});
  }
  auto taken = Take(queue, 400);
  EXPECT_NEAR(taken["three"], 300, 2);
  EXPECT_NEAR(taken["one"], 100, 2);
}

TEST(FairQueue, CountsWhatAnItemCosts) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 200; ++i) {
    queue.Push({"large", 1}, 10, {"large", i});
    queue.Push({"small", 1}, 1, {"small", i});
  }
  auto taken = Take(queue, 110);
  EXPECT_NEAR(taken["large"], 10, 2);
}

// What relays of one flow put in: each has its turn, and the flow no more than its share.
TEST(FairQueue, RelaysOfAFlowShareWhatItGets) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 1000; ++i) queue.Push({"own", 1, "flood"}, 1, {"flood", i});
  for (int i = 0; i < 10; ++i) queue.Push({"own", 1, "quiet"}, 1, {"quiet", i});
  for (int i = 0; i < 1000; ++i) queue.Push({"other", 1, "relay"}, 1, {"other", i});
  auto taken = Take(queue, 40);
  EXPECT_EQ(taken["quiet"], 10);
  EXPECT_NEAR(taken["flood"], 10, 2);
  EXPECT_NEAR(taken["other"], 20, 2);
}

TEST(FairQueue, ANewWeightCountsWhileTheFlowHasWork) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 500; ++i) {
    queue.Push({"a", 1}, 1, {"a", i});
    queue.Push({"b", 1}, 1, {"b", i});
  }
  queue.Push({"a", 4}, 1, {"a", 500});
  EXPECT_NEAR(Take(queue, 100)["a"], 80, 2);
}

// When all is done nobody owes anything, whatever was done before.
TEST(FairQueue, AnEmptyQueueForgets) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 100; ++i) queue.Push({"early", 0.1}, 50, {"early", i});
  Take(queue, 100);
  EXPECT_TRUE(queue.empty());
  for (int i = 0; i < 100; ++i) {
    queue.Push({"early", 1}, 1, {"early", i});
    queue.Push({"late", 1}, 1, {"late", i});
  }
  EXPECT_NEAR(Take(queue, 50)["early"], 25, 2);
}

// Who was silent has saved nothing up, and who comes late owes nothing.
TEST(FairQueue, ALateFlowStartsNow) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 500; ++i) queue.Push({"early", 1}, 1, {"early", i});
  Take(queue, 300);
  for (int i = 0; i < 200; ++i) queue.Push({"late", 1}, 1, {"late", i});
  auto taken = Take(queue, 100);
  EXPECT_NEAR(taken["late"], 50, 2);
}

TEST(FairQueue, WhatComesBackIsFirst) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 3; ++i) queue.Push({"a", 1}, 1, {"a", i});
  queue.PushFront({"b", 9});
  queue.PushFront({"b", 8});
  EXPECT_EQ(queue.size(), 5u);
  EXPECT_EQ(queue.Pop().number, 8);
  EXPECT_EQ(queue.Pop().number, 9);
  EXPECT_EQ(queue.Pop().number, 0);
}

TEST(FairQueue, RemovesWhatIsWanted) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 10; ++i) queue.Push({"a", 1}, 1, {"a", i});
  queue.PushFront({"a", 11});
  const auto removed = queue.Remove([](const Piece& piece) { return piece.number % 2 == 1; });
  EXPECT_EQ(removed.size(), 6u);
  EXPECT_EQ(queue.size(), 5u);
  for (int i = 0; i < 10; i += 2) EXPECT_EQ(queue.Pop().number, i);
}

TEST(FairQueue, RemovesAllOfOneRelayOrOfAll) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 10; ++i) {
    queue.Push({"own", 2, "a"}, 0.1, {"a", i});
    queue.Push({"own", 2, "b"}, 0.1, {"b", i});
  }
  EXPECT_EQ(queue.Remove([](const Piece& piece) { return piece.flow == "a"; }).size(), 10u);
  EXPECT_EQ(Take(queue, 5)["b"], 5);
  queue.Push({"own", 2, "a"}, 0.1, {"a", 10});
  EXPECT_EQ(queue.Remove([](const Piece&) { return true; }).size(), 6u);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.Ahead({"own", 2, "b"}), 0);
  queue.Push({"own", 2, "b"}, 1, {"b", 11});
  EXPECT_EQ(queue.Pop().number, 11);
}

// Ahead is what a newcomer has to wait for: with others in the queue its share of what is taken, not all of it.
TEST(FairQueue, SaysHowMuchIsAhead) {
  FairQueue<Piece> queue;
  EXPECT_EQ(queue.Ahead({"a", 1}), 0);
  for (int i = 0; i < 100; ++i) queue.Push({"flood", 1}, 1, {"flood", i});
  EXPECT_EQ(queue.Ahead({"flood", 1}), 100);
  EXPECT_LE(queue.Ahead({"quiet", 1}), 1);
  for (int i = 0; i < 10; ++i) queue.Push({"quiet", 1}, 1, {"quiet", i});
  const double ahead = queue.Ahead({"quiet", 1});
  queue.Push({"quiet", 1}, 1, {"quiet", 10});
  int before = 0;
  for (Piece piece = queue.Pop(); piece.flow != "quiet" || piece.number != 10; piece = queue.Pop()) ++before;
  EXPECT_NEAR(ahead, before, 2);
}

TEST(FairQueue, SaysHowMuchIsAheadOfARelay) {
  FairQueue<Piece> queue;
  for (int i = 0; i < 100; ++i) {
    queue.Push({"own", 1, "flood"}, 1, {"flood", i});
    queue.Push({"other", 3, "relay"}, 1, {"other", i});
  }
  EXPECT_LE(queue.Ahead({"own", 1, "quiet"}), 1);
  EXPECT_EQ(queue.Ahead({"own", 1, "flood"}), 200);
  for (int i = 0; i < 10; ++i) queue.Push({"own", 1, "quiet"}, 1, {"quiet", i});
  const double ahead = queue.Ahead({"own", 1, "quiet"});
  queue.Push({"own", 1, "quiet"}, 1, {"quiet", 10});
  int before = 0;
  for (Piece piece = queue.Pop(); piece.flow != "quiet" || piece.number != 10; piece = queue.Pop()) ++before;
  EXPECT_NEAR(ahead, before, 8);
}

TEST(FairQueue, LosesAndDoublesNothing) {
  FairQueue<Piece> queue;
  std::mt19937 random(7);
  std::map<std::string, int> pushed, next;
  int in = 0, out = 0;
  while (out < 20'000) {
    if (in < 20'000 && (queue.empty() || random() % 2 == 0)) {
      const std::string flow(1, static_cast<char>('a' + random() % 5));
      queue.Push({flow, 1.0 + static_cast<int>(random() % 3), flow == "a" ? "one relay" : ""},
                 1 + static_cast<int>(random() % 4), {flow, pushed[flow]++});
      ++in;
    } else {
      const Piece piece = queue.Pop();
      ASSERT_EQ(piece.number, next[piece.flow]++);
      ++out;
    }
    ASSERT_EQ(queue.size(), static_cast<std::size_t>(in - out));
  }
}

}  // namespace
}  // namespace hallmark::tokens
