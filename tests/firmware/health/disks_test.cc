#include "firmware/health/disks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tree.h"

namespace hallmark::health {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'790'000'000)};

struct SmartCase {
  const char* name;
  const char* json;
  Level level;
  const char* message;
};

constexpr SmartCase kSmart[] = {
    {"NvmeGood",
     R"({"smart_status":{"passed":true},"nvme_smart_health_information_log":{"critical_warning":0,"available_spare":100,"available_spare_threshold":10,"percentage_used":3,"media_errors":0}})",
     kOk, "3 % of its endurance used, 100 % spare"},
    {"NvmeWorn", R"({"nvme_smart_health_information_log":{"percentage_used":93}})", kWarning,
     "93 % of its endurance used"},
    {"NvmeNoSpare",
     R"({"nvme_smart_health_information_log":{"available_spare":4,"available_spare_threshold":10,"percentage_used":50}})",
     kFailed, "50 % of its endurance used, 4 % spare"},
    {"NvmeMediaErrors", R"({"nvme_smart_health_information_log":{"percentage_used":1,"media_errors":7}})", kWarning,
     "1 % of its endurance used, 7 media errors"},
    {"NvmeCritical", R"({"nvme_smart_health_information_log":{"percentage_used":1,"critical_warning":8}})", kFailed,
     "1 % of its endurance used, critical warning 8"},
    {"SataGood",
     R"({"smart_status":{"passed":true},"ata_device_statistics":{"pages":[{"number":7,"table":[{"name":"Percentage Used Endurance Indicator","value":12}]}]}})",
     kOk, "12 % of its endurance used"},
    {"SataWithoutStatistics", R"({"smart_status":{"passed":true}})", kOk, "the disk finds itself in order"},
    {"SataFails", R"({"smart_status":{"passed":false}})", kFailed,
     "the disk finds itself in order; the disk says that it fails: replace it"},
    {"Sas", R"({"smart_status":{"passed":true},"scsi_percentage_used_endurance_indicator":95})", kWarning,
     "95 % of its endurance used"},
    {"Raid", R"({"smartctl":{"exit_status":2}})", kUnknown, "the disk says nothing of its wear"},
    {"NoJson", "smartctl: command not found", kUnknown, "smartctl gave no JSON"},
    {"Nothing", "", kUnknown, "smartctl gave no JSON"},
    {"OtherTypes",
     R"({"smart_status":[1],"nvme_smart_health_information_log":{"percentage_used":"many","critical_warning":{}},"ata_device_statistics":{"pages":{"a":1}}})",
     kUnknown, "the disk says nothing of its wear"},
    {"Absurd", R"({"nvme_smart_health_information_log":{"percentage_used":1e300,"available_spare":-5}})", kUnknown,
     "the disk says nothing of its wear"},
};

class Smart : public testing::TestWithParam<SmartCase> {};
TEST_P(Smart, IsJudged) {
  const Reading reading = JudgeSmart("disk/nvme0n1", GetParam().json, kNow);
  EXPECT_EQ(reading.level(), GetParam().level) << reading.message();
  EXPECT_EQ(reading.message(), GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(Disks, Smart, testing::ValuesIn(kSmart),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Emmc, IsJudged) {
  EXPECT_EQ(JudgeEmmc("disk/mmcblk0", "0x01 0x02", "0x01", kNow).message(), "up to 20 % of its life time used");
  EXPECT_EQ(JudgeEmmc("disk/mmcblk0", "0x01 0x02", "0x01", kNow).level(), kOk);
  EXPECT_EQ(JudgeEmmc("disk/mmcblk0", "0x0b 0x01", "0x01", kNow).level(), kWarning);
  EXPECT_EQ(JudgeEmmc("disk/mmcblk0", "0x01 0x01", "0x02", kNow).level(), kWarning);
  EXPECT_EQ(JudgeEmmc("disk/mmcblk0", "0x01 0x01", "0x03", kNow).level(), kFailed);
  for (const char* nothing : {"", "0x00 0x00", "garbage", "0x", "0xff 0x01"}) {
    EXPECT_EQ(JudgeEmmc("disk/mmcblk0", nothing, "", kNow).level(), kUnknown) << nothing;
  }
}

class Disks : public testing::Test {
 protected:
  // As sysfs has it: a link in block/ to the device's own folder.
  void Device(const std::string& name, const std::string& where) {
    std::filesystem::create_directories(tree_.path() / "devices" / where / name);
    std::filesystem::create_directories(tree_.path() / "block");
    std::filesystem::create_symlink(tree_.path() / "devices" / where / name, tree_.path() / "block" / name);
  }
  std::string Program(const std::string& lines) {
    tree_.Put("smartctl", "#!/bin/sh\n" + lines);
    std::filesystem::permissions(tree_.path() / "smartctl", std::filesystem::perms::owner_all);
    return tree_.path() / "smartctl";
  }
  test::Tree tree_;
};

TEST_F(Disks, AreFound) {
  EXPECT_THAT(ReadDisks(tree_.path(), "/nowhere", kNow), IsEmpty());
  Device("nvme0n1", "pci0");
  Device("sda", "pci0");
  Device("sdb", "pci0");
  Device("mmcblk0", "platform");
  Device("mmcblk0boot0", "platform");
  for (const char* made : {"loop0", "dm-0", "sdz"}) Device(made, "virtual");
  tree_.Put("devices/pci0/sdb/removable", "1\n");
  tree_.Put("devices/platform/mmcblk0/device/life_time", "0x02 0x01\n");
  const std::string smartctl = Program(
      "for last; do :; done\n"
      "case $last in /dev/sda) exit 2 ;; esac\n"
      "echo '{\"nvme_smart_health_information_log\":{\"percentage_used\":3}}'; exit 64\n");
  const auto readings = ReadDisks(tree_.path(), smartctl, kNow);
  ASSERT_EQ(readings.size(), 3U);
  EXPECT_EQ(readings[0].name() + ": " + readings[0].message(), "disk/mmcblk0: up to 20 % of its life time used");
  EXPECT_EQ(readings[1].name() + ": " + readings[1].message(), "disk/nvme0n1: 3 % of its endurance used");
  EXPECT_EQ(readings[2].name() + ": " + readings[2].message(), "disk/sda: smartctl gave no JSON");
}

TEST_F(Disks, WithoutSmartctl) {
  Device("sda", "pci0");
  const auto readings = ReadDisks(tree_.path(), "/nowhere/smartctl", kNow);
  ASSERT_EQ(readings.size(), 1U);
  EXPECT_EQ(readings[0].level(), kUnknown);
  EXPECT_THAT(readings[0].message(), HasSubstr("cannot start"));
}

}  // namespace
}  // namespace hallmark::health
