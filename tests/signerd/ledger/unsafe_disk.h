#pragma once

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "signerd/ledger/ledger_file.h"

namespace hallmark::ledger::test {

// A disk that can be full, can fail to sync, and loses what was not synced when its power is cut. Files are real ones.
class UnsafeDisk {
 public:
  std::atomic<int> writes_to_fail{0};  // so many writes leave half of their octets and fail
  std::atomic<int> syncs_to_fail{0};
  std::atomic<int> truncates_to_fail{0};
  std::atomic<bool> full{false};  // no write and no reservation succeeds
  std::atomic<int> refused{0};    // what was failed so far
  std::atomic<std::size_t> longest_write{0};

  OpenLedgerFile opener() {
    return [this](const std::filesystem::path& path) -> Result<std::unique_ptr<LedgerFile>> {
      auto file = OpenOnDisk(path);
      if (!file) return file.error();
      const std::lock_guard lock(mutex_);
      synced_.try_emplace(path, std::filesystem::file_size(path));
      return std::make_unique<File>(*this, path, std::move(*file));
    };
  }

  // What was not synced is gone, but for `kept` octets of each file.
  void CutPower(std::uint64_t kept) {
    const std::lock_guard lock(mutex_);
    for (const auto& [path, synced] : synced_) {
      if (std::filesystem::exists(path) && std::filesystem::file_size(path) > synced + kept) {
        std::filesystem::resize_file(path, synced + kept);
      }
    }
  }

 private:
  class File final : public LedgerFile {
   public:
    File(UnsafeDisk& disk, std::filesystem::path path, std::unique_ptr<LedgerFile> real)
        : disk_(disk), path_(std::move(path)), real_(std::move(real)) {}
    Status WriteAt(std::uint64_t offset, std::string_view octets) override {
      if (disk_.full || Take(disk_.writes_to_fail)) {
        static_cast<void>(real_->WriteAt(offset, octets.substr(0, octets.size() / 2)));
        return Failed("write");
      }
      disk_.longest_write = std::max(disk_.longest_write.load(), octets.size());
      return real_->WriteAt(offset, octets);
    }
    Status Sync() override {
      if (Take(disk_.syncs_to_fail)) return Failed("sync");
      const Status done = real_->Sync();
      const std::lock_guard lock(disk_.mutex_);
      disk_.synced_[path_] = std::filesystem::file_size(path_);
      return done;
    }
    Status Truncate(std::uint64_t octets) override {
      if (Take(disk_.truncates_to_fail)) return Failed("truncate");
      return real_->Truncate(octets);
    }
    Status Reserve(std::uint64_t offset, std::uint64_t octets) override {
      return disk_.full ? Failed("reserve") : real_->Reserve(offset, octets);
    }

   private:
    static bool Take(std::atomic<int>& left) {
      int now = left.load();
      while (now > 0 && !left.compare_exchange_weak(now, now - 1)) {
      }
      return now > 0;
    }
    Status Failed(const char* doing) const {
      ++disk_.refused;
      return MakeError(Reason::kIoFailed, path_.string() + ": cannot " + doing + ": no space left on device");
    }
    UnsafeDisk& disk_;
    const std::filesystem::path path_;
    const std::unique_ptr<LedgerFile> real_;
  };

  std::mutex mutex_;                                       // guards synced_
  std::map<std::filesystem::path, std::uint64_t> synced_;  // octets of each file that a power cut leaves
};

}  // namespace hallmark::ledger::test
