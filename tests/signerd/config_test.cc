#include "signerd/config.h"

#include <gtest/gtest.h>

#include "dkimctl_run.h"

namespace hallmark {
namespace {

using namespace std::chrono_literals;

// A set-up of `dkimctl init`, with more in its configuration.
class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto run = Dkimctl({"init", "--dir", folder_ / "hallmark"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
  }
  Result<SignerdConfig> LoadWith(const std::string& more) {
    const std::string path = folder_ / "hallmark/hallmark.toml";
    WriteText(path, ReadText(path) + more);
    return LoadConfig(path, false);
  }
  TemporaryFolder folder_;
};

TEST_F(ConfigTest, WatchIsAsItSays) {
  const auto config =
      LoadWith("\n[watch]\nlearning_days = 3\nmin_volume = 40\ncool_down_minutes = 7\ndormant_days = 11\n");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->watch.learning, 72h);
  EXPECT_EQ(config->watch.min_volume, 40);
  EXPECT_EQ(config->watch.cool_down, 7min);
  EXPECT_EQ(config->watch.dormant, 11 * 24h);
}

TEST_F(ConfigTest, ASecondSinkIsBestEffortUnlessItIsRequired) {
  const auto config = LoadWith("\n[ledger.sink]\nkind = \"journald\"\ntimeout_ms = 70\n");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_TRUE(config->ledger.sink);
  EXPECT_FALSE(config->ledger.sink->required);
  EXPECT_EQ(config->ledger.sink->kind, ledger::SinkKind::kJournald);
  EXPECT_EQ(config->ledger.sink->timeout, 70ms);
}

TEST_F(ConfigTest, TheLedgersTokenIsAGroupOrOneOfIt) {
  const std::string path = folder_ / "hallmark/hallmark.toml";
  std::string text = ReadText(path);
  const std::string name = "name = \"softhsm\"";
  const std::size_t token = text.find(name, text.find("\n[[token]]"));
  ASSERT_NE(token, std::string::npos);
  WriteText(path, text.insert(token, "group = \"pair\"\n"));
  for (const char* named : {"pair", "softhsm"}) {
    WriteText(path, text);
    const auto config = LoadWith("\n[ledger]\ntoken = \"" + std::string(named) + "\"\n");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->checkpoint_token, "pair");
  }
}

}  // namespace
}  // namespace hallmark
