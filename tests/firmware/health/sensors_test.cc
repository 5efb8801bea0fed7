#include "firmware/health/sensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/health/sysfs.h"
#include "tree.h"

namespace hallmark::health {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'790'000'000)};

// "OK name: message" of each.
std::vector<std::string> Texts(const std::vector<Reading>& readings) {
  std::vector<std::string> texts;
  for (const Reading& reading : readings) {
    texts.push_back(std::string(LevelName(reading.level())) + " " + reading.name() + ": " + reading.message());
  }
  return texts;
}

class Sensors : public testing::Test {
 protected:
  void Chip(const std::string& number, const std::string& file, const std::string& content) {
    tree_.Put("class/hwmon/hwmon" + number + "/" + file, content);
  }
  std::vector<std::string> Temperatures() { return Texts(ReadTemperatures(tree_.path(), kNow)); }
  std::vector<std::string> Fans() { return Texts(ReadFans(tree_.path(), kNow)); }
  test::Tree tree_;
};

TEST_F(Sensors, NoneAreThere) {
  EXPECT_THAT(Temperatures(), IsEmpty());
  EXPECT_THAT(Fans(), IsEmpty());
}

TEST_F(Sensors, TemperaturesHaveTheirChipsLimits) {
  Chip("0", "name", "coretemp\n");
  Chip("0", "temp1_label", "Package id 0\n");
  Chip("0", "temp1_input", "47000\n");
  Chip("0", "temp1_max", "80000\n");
  Chip("0", "temp1_crit", "100000\n");
  Chip("0", "temp2_input", "85500\n");
  Chip("0", "temp2_max", "80000\n");
  Chip("0", "temp10_input", "101000\n");
  Chip("0", "temp10_max", "80000\n");
  Chip("0", "temp10_crit", "100000\n");
  EXPECT_THAT(Temperatures(),
              ElementsAre("OK temperature/coretemp Package id 0: 47.0 C, limit 80.0 C, critical 100.0 C",
                          "WARNING temperature/coretemp 2: 85.5 C, limit 80.0 C",
                          "FAILED temperature/coretemp 10: 101.0 C, limit 80.0 C, critical 100.0 C"));
}

TEST_F(Sensors, ChipsOfOneNameAreTold) {
  for (const char* number : {"0", "1", "10"}) {
    Chip(number, "name", "nvme");
    Chip(number, "temp1_input", "30000");
  }
  EXPECT_THAT(Temperatures(), ElementsAre("OK temperature/nvme 1: 30.0 C", "OK temperature/nvme#2 1: 30.0 C",
                                          "OK temperature/nvme#3 1: 30.0 C"));
}

// A broken sensor is told as such, and the others are read all the same.
TEST_F(Sensors, BrokenSensors) {
  Chip("0", "name",
       "\x01\xff"
       "chip");
  Chip("0", "temp1_input", "garbage");
  Chip("0", "temp2_input", "");
  Chip("0", "temp3_input", "99999999999999999999");
  Chip("0", "temp4_input", "200000");
  Chip("0", "temp5_input", "-128000");
  Chip("0", "temp6_input", "40000");
  Chip("0", "temp6_fault", "1");
  std::filesystem::create_directories(tree_.path() / "class/hwmon/hwmon0/temp7_input");
  Chip("0", "temp8_input", "40000");
  Chip("0", "temp8_crit", "0");
  Chip("0", "temp8_max", "255500");
  Chip("0", "temp9_input", std::string(10'000, '4'));
  std::filesystem::create_symlink("temp11_input", tree_.path() / "class/hwmon/hwmon0/temp11_input");
  Chip("1", "temp1_input", "41000");
  EXPECT_THAT(
      Temperatures(),
      ElementsAre("UNKNOWN temperature/??chip 1: the sensor does not answer",
                  "UNKNOWN temperature/??chip 2: the sensor does not answer",
                  "UNKNOWN temperature/??chip 3: the sensor does not answer",
                  "UNKNOWN temperature/??chip 4: the sensor says 200.0 C, which cannot be",
                  "UNKNOWN temperature/??chip 5: the sensor says -128.0 C, which cannot be",
                  "UNKNOWN temperature/??chip 6: the sensor does not answer",
                  "UNKNOWN temperature/??chip 7: the sensor does not answer", "OK temperature/??chip 8: 40.0 C",
                  "UNKNOWN temperature/??chip 9: the sensor does not answer",
                  "UNKNOWN temperature/??chip 11: the sensor does not answer", "OK temperature/hwmon1 1: 41.0 C"));
}

TEST_F(Sensors, Fans) {
  Chip("0", "name", "nct6775");
  Chip("0", "fan1_input", "1200");
  Chip("0", "fan1_min", "500");
  Chip("0", "fan2_input", "300");
  Chip("0", "fan2_min", "500");
  Chip("0", "fan3_input", "0");
  Chip("0", "fan3_min", "500");
  Chip("0", "fan4_input", "0");
  Chip("0", "fan5_input", "900");
  Chip("0", "fan6_input", "0");
  Chip("0", "fan6_alarm", "1");
  Chip("0", "fan7_input", "1350000");
  Chip("0", "fan8_input", "0 rpm");
  EXPECT_THAT(
      Fans(),
      ElementsAre("OK fan/nct6775 1: 1200 rpm, at least 500 rpm", "WARNING fan/nct6775 2: 300 rpm, at least 500 rpm",
                  "FAILED fan/nct6775 3: 0 rpm, at least 500 rpm", "UNKNOWN fan/nct6775 4: no fan, or it stands still",
                  "OK fan/nct6775 5: 900 rpm", "FAILED fan/nct6775 6: 0 rpm",
                  "UNKNOWN fan/nct6775 7: the sensor says 1350000 rpm, which cannot be",
                  "UNKNOWN fan/nct6775 8: the sensor does not answer"));
}

TEST_F(Sensors, Watchdog) {
  EXPECT_EQ(ReadWatchdog(tree_.path(), kNow).level(), kUnknown);
  tree_.Put("class/watchdog/watchdog0/identity", "i6300ESB timer\n");
  tree_.Put("class/watchdog/watchdog0/state", "inactive\n");
  EXPECT_EQ(ReadWatchdog(tree_.path(), kNow).level(), kWarning);
  tree_.Put("class/watchdog/watchdog0/state", "active\n");
  tree_.Put("class/watchdog/watchdog0/timeout", "60\n");
  EXPECT_THAT(Texts({ReadWatchdog(tree_.path(), kNow)}),
              ElementsAre("OK watchdog: i6300ESB timer, restarts the box after 60 s"));
}

TEST(Space, RoomRunsOut) {
  constexpr std::uint64_t kGiB = 1 << 30, kMiB = 1 << 20;
  EXPECT_EQ(JudgeSpace({50 * kGiB, 100 * kGiB, 0, 0}, kNow).level(), kOk);
  EXPECT_EQ(JudgeSpace({9 * kGiB, 100 * kGiB, 0, 0}, kNow).level(), kWarning);
  EXPECT_EQ(JudgeSpace({kGiB, 100 * kGiB, 0, 0}, kNow).level(), kFailed);
  EXPECT_EQ(JudgeSpace({200 * kMiB, kGiB, 0, 0}, kNow).level(), kWarning);
  EXPECT_EQ(JudgeSpace({63 * kMiB, 256 * kMiB, 0, 0}, kNow).level(), kFailed);
  EXPECT_EQ(JudgeSpace({50 * kGiB, 100 * kGiB, 1, 1000}, kNow).level(), kFailed);
  EXPECT_EQ(JudgeSpace({50 * kGiB, 100 * kGiB, 999, 1000}, kNow).level(), kOk);
  EXPECT_EQ(JudgeSpace({0, 0, 0, 0}, kNow).level(), kUnknown);
  EXPECT_EQ(JudgeSpace({2, 1, 0, 0}, kNow).level(), kUnknown);
  EXPECT_EQ(ReadSpace("/nowhere", kNow).level(), kUnknown);
  EXPECT_NE(ReadSpace("/", kNow).level(), kUnknown);
}

TEST(Sysfs, Values) {
  const test::Tree tree;
  tree.Put("a", "  12 \nsecond line\n");
  tree.Put("b", "12x\n");
  tree.Put("c", "");
  EXPECT_EQ(*ReadNumber(tree.path() / "a"), 12);
  EXPECT_EQ(ReadNumber(tree.path() / "b").error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(ReadNumber(tree.path() / "c").error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(ReadNumber(tree.path() / "d").error().reason, Reason::kNotFound);
  EXPECT_EQ(*ReadLine(tree.path() / "c"), "");
}

}  // namespace
}  // namespace hallmark::health
