#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"
#include "signerd/ledger/checkpoint.h"

// The ledger's file of checkpoints: signed notes, each followed by an empty line. It only grows, for years, so nobody
// holds all of it.
namespace hallmark::ledger {

// The last whole note of a file. What stands behind it was being written when the daemon ended: the beginning of a
// note, or, where the power failed, one with zeros in it.
struct NewestNote {
  std::string note;       // empty: there is none
  TreeHead head;          // of it; not verified
  std::uint64_t end = 0;  // octets of the file up to and with the empty line behind it
};
// Reads the end of the file only. No file is one without notes. kIoFailed; kInvalidArgument: its end is not one of such
// a file. Any thread.
Result<NewestNote> NewestCheckpoint(const std::filesystem::path& file);

// Reads the notes from the first on, holding one piece of the file. What is added after Open() is not read. Not
// thread-safe.
class CheckpointReader {
 public:
  // No file is one without notes. `most`: as if it had no more octets. kIoFailed.
  static Result<CheckpointReader> Open(const std::filesystem::path& file, std::uint64_t most = UINT64_MAX);

  // The next whole note, until the next call; nothing at the end. kIoFailed, kInvalidArgument.
  Result<std::optional<std::string_view>> Next();
  // How many Next() has given.
  std::uint64_t count() const { return count_; }
  // What it reads of the file at most.
  std::uint64_t octets() const { return octets_; }

 private:
  CheckpointReader(std::filesystem::path path, FileDescriptor file, std::uint64_t octets)
      : path_(std::move(path)), file_(std::move(file)), octets_(octets) {}
  Result<bool> ReadMore();

  std::filesystem::path path_;
  FileDescriptor file_;
  std::uint64_t octets_, read_ = 0, count_ = 0;
  std::string buffer_;
  std::size_t at_ = 0;  // where in buffer_ the next note begins
};

}  // namespace hallmark::ledger
