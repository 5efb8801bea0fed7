#include "firmware/health/disks.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "firmware/health/sysfs.h"
#include "firmware/runtime/subprocess.h"

namespace hallmark::health {
namespace {

namespace fs = std::filesystem;
using google::protobuf::Struct;
using google::protobuf::Value;
using std::chrono::sys_seconds;

constexpr std::chrono::seconds kSmartctlWait{20};
constexpr double kWorn = 90;  // per cent of the endurance that its maker states

const Value* Field(const Struct& object, const std::string& name) {
  const auto field = object.fields().find(name);
  return field == object.fields().end() ? nullptr : &field->second;
}

const Struct* Object(const Struct& object, const std::string& name) {
  const Value* value = Field(object, name);
  return value != nullptr && value->has_struct_value() ? &value->struct_value() : nullptr;
}

// A number that a disk may say of itself.
std::optional<double> Number(const Struct& object, const std::string& name) {
  const Value* value = Field(object, name);
  if (value == nullptr || value->kind_case() != Value::kNumberValue) return std::nullopt;
  const double number = value->number_value();
  if (!std::isfinite(number) || number < 0 || number > 1e15) return std::nullopt;
  return number;
}

// ATA's statistics: pages of rows with a name and a value.
std::optional<double> AtaUsed(const Struct& disk) {
  const Struct* statistics = Object(disk, "ata_device_statistics");
  const Value* pages = statistics == nullptr ? nullptr : Field(*statistics, "pages");
  if (pages == nullptr) return std::nullopt;
  for (const Value& page : pages->list_value().values()) {
    const Value* table = Field(page.struct_value(), "table");
    if (table == nullptr) continue;
    for (const Value& row : table->list_value().values()) {
      const Value* name = Field(row.struct_value(), "name");
      if (name != nullptr && name->string_value() == "Percentage Used Endurance Indicator") {
        return Number(row.struct_value(), "value");
      }
    }
  }
  return std::nullopt;
}

std::optional<double> Used(const Struct& disk, const Struct* nvme) {
  if (nvme != nullptr) return Number(*nvme, "percentage_used");
  const auto scsi = Number(disk, "scsi_percentage_used_endurance_indicator");
  return scsi ? scsi : AtaUsed(disk);
}

std::string Text(double number) { return std::to_string(static_cast<long long>(number)); }

// 0 where it is not "0x" and hexadecimal digits.
unsigned Hexadecimal(std::string_view text) {
  unsigned number = 0;
  if (!text.starts_with("0x")) return 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), number, 16);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

bool IsDisk(const fs::path& device) {
  std::error_code error;
  const std::string real = fs::canonical(device, error).string();
  if (error || real.find("/devices/virtual/") != std::string::npos) return false;
  const std::string name = device.filename().string();
  const bool whole = name.find("boot") == std::string::npos && name.find("rpmb") == std::string::npos;  // of an eMMC
  const auto removable = ReadNumber(device / "removable");
  return whole && (!removable || *removable == 0) &&
         (name.starts_with("sd") || name.starts_with("nvme") || name.starts_with("mmcblk"));
}

Reading ReadDisk(const fs::path& device, const std::string& smartctl, sys_seconds now) {
  const std::string disk = device.filename().string(), name = "disk/" + disk;
  if (disk.starts_with("mmcblk")) {
    const auto life_time = ReadLine(device / "device/life_time"),
               pre_eol_info = ReadLine(device / "device/pre_eol_info");
    return JudgeEmmc(name, life_time ? *life_time : "", pre_eol_info ? *pre_eol_info : "", now);
  }
  const auto answer =
      RunProgram(smartctl, {"--json=c", "--health", "--attributes", "--log=ssd", "/dev/" + disk}, {}, kSmartctlWait);
  // Its exit status only repeats what the answer says.
  return answer ? JudgeSmart(name, answer->out, now) : MakeReading(name, kUnknown, answer.error().message, now);
}

}  // namespace

Reading JudgeSmart(std::string_view name, std::string_view json, sys_seconds now) {
  Struct disk;
  if (!google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, &disk).ok()) {
    return MakeReading(name, kUnknown, "smartctl gave no JSON", now);
  }
  const Struct* nvme = Object(disk, "nvme_smart_health_information_log");
  const Struct* status = Object(disk, "smart_status");
  const Value* passed = status == nullptr ? nullptr : Field(*status, "passed");
  const auto used = Used(disk, nvme);
  if (passed == nullptr && !used) return MakeReading(name, kUnknown, "the disk says nothing of its wear", now);

  Level level = used && *used >= kWorn ? kWarning : kOk;
  std::string message = used ? Text(*used) + " % of its endurance used" : "the disk finds itself in order";
  if (nvme != nullptr) {
    const auto spare = Number(*nvme, "available_spare"), least = Number(*nvme, "available_spare_threshold");
    if (spare) message += ", " + Text(*spare) + " % spare";
    if (spare && least && *spare < *least) level = kFailed;
    const auto errors = Number(*nvme, "media_errors");
    if (errors && *errors > 0) {
      message += ", " + Text(*errors) + " media errors";
      if (level == kOk) level = kWarning;
    }
    const auto critical = Number(*nvme, "critical_warning");
    if (critical && *critical > 0) {
      message += ", critical warning " + Text(*critical);
      level = kFailed;
    }
  }
  if (passed != nullptr && passed->kind_case() == Value::kBoolValue && !passed->bool_value()) {
    message += "; the disk says that it fails: replace it";
    level = kFailed;
  }
  return MakeReading(name, level, message, now);
}

// JEDEC eMMC 5.1, EXT_CSD [267] to [269]: tenths of the life time used, 11 for more than all; reserved blocks 1 normal,
// 2 for 80 % consumed, 3 urgent.
Reading JudgeEmmc(std::string_view name, std::string_view life_time, std::string_view pre_eol_info, sys_seconds now) {
  const std::size_t blank = life_time.find(' ');
  const unsigned first = Hexadecimal(life_time.substr(0, blank));
  const unsigned second = blank == std::string_view::npos ? 0 : Hexadecimal(life_time.substr(blank + 1));
  const unsigned used = std::max(first, second), blocks = Hexadecimal(pre_eol_info);
  if (used == 0 || used > 11) return MakeReading(name, kUnknown, "the disk says nothing of its wear", now);
  Level level = used >= 10 ? kWarning : kOk;
  std::string message =
      used > 10 ? "past its life time" : "up to " + std::to_string(used * 10) + " % of its life time used";
  if (blocks == 2 && level == kOk) level = kWarning;
  if (blocks == 2) message += ", 80 % of its reserved blocks used";
  if (blocks == 3) {
    message += ", its reserved blocks are at an end";
    level = kFailed;
  }
  return MakeReading(name, level, message, now);
}

std::vector<Reading> Hung(const std::vector<Reading>& disks, sys_seconds now) {
  constexpr std::string_view message = "no disk answers any more: this one or another hangs whoever asks it";
  std::vector<Reading> hung;
  for (const Reading& disk : disks) hung.push_back(MakeReading(disk.name(), kFailed, message, now));
  if (hung.empty()) hung.push_back(MakeReading("disk", kFailed, message, now));
  return hung;
}

std::vector<Reading> ReadDisks(const fs::path& sysfs, const std::string& smartctl, sys_seconds now) {
  std::vector<Reading> readings;
  for (const fs::path& device : Entries(sysfs / "block")) {
    if (IsDisk(device)) readings.push_back(ReadDisk(device, smartctl, now));
  }
  return readings;
}

}  // namespace hallmark::health
