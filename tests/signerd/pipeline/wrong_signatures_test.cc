#include "signerd/pipeline/wrong_signatures.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "log_text.h"

namespace hallmark::pipeline {
namespace {

using namespace std::chrono_literals;

constexpr const char* kKey = "s1._domainkey.example.com";

class WrongSignaturesTest : public testing::Test {
 protected:
  // A message refused after two attempts.
  void Refuse(WrongSignatures::Time now, const char* token = "hsm") {
    wrong_.Count(token, kKey, false, now);
    wrong_.Count(token, kKey, true, now);
  }
  // The lines since the last call.
  std::size_t Lines() {
    const std::string text = log_.text();
    const auto lines = std::count(text.begin() + static_cast<std::ptrdiff_t>(read_), text.end(), '\n');
    last_ = text.substr(read_);
    read_ = text.size();
    return static_cast<std::size_t>(lines);
  }

  const WrongSignatures::Time start_ = WrongSignatures::Time() + 1h;
  test::LogText log_;
  WrongSignatures wrong_;
  std::size_t read_ = 0;
  std::string last_;
};

TEST_F(WrongSignaturesTest, AnOutageHasALineForEachChangeAndACount) {
  for (int i = 0; i < 50; ++i) Refuse(start_ + i * 100ms);
  EXPECT_EQ(Lines(), 2u) << last_;
  EXPECT_NE(last_.find("token hsm"), std::string::npos);
  EXPECT_NE(last_.find(kKey), std::string::npos);
  wrong_.Settle(start_ + 10s);
  EXPECT_EQ(Lines(), 0u) << "the minute is not over";
  wrong_.Settle(start_ + 61s);
  EXPECT_EQ(Lines(), 1u);
  EXPECT_NE(last_.find("98 more signatures did not verify; 49 more messages"), std::string::npos) << last_;
  wrong_.Settle(start_ + 500s);
  EXPECT_EQ(Lines(), 0u);
}

TEST_F(WrongSignaturesTest, ALongOutageHasALineAMinute) {
  for (int second = 0; second < 600; ++second) Refuse(start_ + second * 1s);
  EXPECT_LE(Lines(), 2u + 10u);
}

TEST_F(WrongSignaturesTest, TheNextOutageIsToldAtOnce) {
  wrong_.Count("hsm", kKey, false, start_);
  EXPECT_EQ(Lines(), 1u);
  Refuse(start_ + 30s);
  EXPECT_EQ(Lines(), 1u) << "that a message is refused is new";
  wrong_.Settle(start_ + 200s);
  EXPECT_EQ(Lines(), 1u) << "one was not told";
  Refuse(start_ + 300s);
  EXPECT_EQ(Lines(), 2u);
}

TEST_F(WrongSignaturesTest, EachTokenIsTold) {
  Refuse(start_, "one");
  Refuse(start_, "two");
  EXPECT_EQ(Lines(), 4u);
}

}  // namespace
}  // namespace hallmark::pipeline
