#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"

namespace hallmark::ledger {

// A file that the ledger writes at its end. Virtual, so that tests can have a disk that fills up, fails, or loses what
// was not synced. Errors are kIoFailed. One thread at a time.
class LedgerFile {
 public:
  virtual ~LedgerFile() = default;
  // All of `octets` at `offset`; after an error some of them may be there.
  virtual Status WriteAt(std::uint64_t offset, std::string_view octets) = 0;
  // What was written, and how long the file is, survives a power cut.
  virtual Status Sync() = 0;
  virtual Status Truncate(std::uint64_t octets) = 0;
  // Sees to it that so many octets after `offset` have their place on the disk, without making the file longer.
  virtual Status Reserve(std::uint64_t offset, std::uint64_t octets) = 0;
};

// Opens or creates a file of the ledger, readable by its owner only; the name of a new one is durable on return.
using OpenLedgerFile = std::function<Result<std::unique_ptr<LedgerFile>>(const std::filesystem::path& path)>;
Result<std::unique_ptr<LedgerFile>> OpenOnDisk(const std::filesystem::path& path);

}  // namespace hallmark::ledger
