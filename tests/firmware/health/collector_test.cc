#include "firmware/health/collector.h"

#include <gtest/gtest.h>

#include "tree.h"

namespace hallmark::health {
namespace {

using std::chrono::minutes;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'790'000'000)};
constexpr const char* kHangs = "no disk answers any more: this one or another hangs whoever asks it";

// A machine with one disk, and a smartctl that finds it in order.
class CollectorTest : public testing::Test {
 protected:
  CollectorTest() {
    tree_.Put("sys/block/sda/removable", "0\n");
    tree_.Put("smartctl", "#!/bin/sh\necho '{\"smart_status\":{\"passed\":true}}'\n");
    std::filesystem::permissions(tree_.path() / "smartctl", std::filesystem::perms::owner_all);
  }

  Sources With(minutes patience) const {
    Sources sources;
    sources.sysfs = tree_.path() / "sys";
    sources.state = tree_.path();
    sources.smartctl = tree_.path() / "smartctl";
    sources.chronyc = tree_.path() / "chronyc";
    sources.disk_patience = patience;
    return sources;
  }

  test::Tree tree_;
};

TEST_F(CollectorTest, TakesTheDisksWordOfAMomentAgo) {
  Collector collector(With(minutes(25)));
  collector.WatchDisks();
  Report report = collector.Collect(kNow);
  while (Find(report, "disk/sda") == nullptr) {
    std::this_thread::yield();
    report = collector.Collect(kNow);
  }
  EXPECT_EQ(Find(report, "disk/sda")->level(), kOk);
  // The clock is set: nothing is older for that.
  EXPECT_EQ(Find(collector.Collect(kNow + std::chrono::years(3)), "disk/sda")->level(), kOk);
}

TEST_F(CollectorTest, OldWordIsNone) {
  Collector collector(With(minutes(0)));  // old at once
  collector.WatchDisks();
  Report report = collector.Collect(kNow);
  while (Find(report, "disk/sda") == nullptr) {
    ASSERT_NE(Find(report, "disk"), nullptr) << "it never had any";
    std::this_thread::yield();
    report = collector.Collect(kNow);
  }
  EXPECT_EQ(Find(report, "disk/sda")->level(), kFailed);
  EXPECT_EQ(Find(report, "disk/sda")->message(), kHangs);
  EXPECT_EQ(Find(report, "disk"), nullptr);
}

}  // namespace
}  // namespace hallmark::health
