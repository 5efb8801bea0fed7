#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

// The archive in a backup: POSIX ustar, of regular files only, so that tar(1) unpacks it too. Octets go in and come out
// as they are there; a file is never held as a whole.
namespace hallmark::backup {

// Takes the next octets; an error ends the work and is given on.
using OctetSink = std::function<Status(std::string_view octets)>;

// Not thread-safe.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(OctetSink sink) : sink_(std::move(sink)) {}

  // Begins a file; the one before must have got its octets. kInvalidArgument: the name has over 100 octets and cannot
  // be cut (over 255, or a last part that is too long), or the file has over 8 GiB.
  Status Begin(const std::string& name, std::uint64_t octets, std::int64_t modified);
  // The next octets of the file; never more than it was begun with.
  Status Write(std::string_view octets);
  // Ends the archive. kIoFailed when the last file did not get all of its octets.
  Status Finish();

 private:
  Status EndFile();
  const OctetSink sink_;
  std::string name_;
  std::uint64_t left_ = 0, padding_ = 0;
};

// What comes out of an archive. `name` is as the archive says: who makes a path of it judges it first.
struct ArchiveHandler {
  std::function<Status(const std::string& name, std::uint64_t octets)> begin;
  OctetSink octets;
  std::function<Status()> end;  // of the file
};

// Not thread-safe.
class ArchiveReader {
 public:
  explicit ArchiveReader(ArchiveHandler handler) : handler_(std::move(handler)) {}

  // The next octets of the archive. kInvalidArgument: it is none of ours; the handler's errors.
  Status Take(std::string_view octets);
  // kInvalidArgument when the archive's end was not reached.
  Status Finish() const;

 private:
  Status TakeBlock(std::string_view block);
  Status TakeHeader(std::string_view block);
  const ArchiveHandler handler_;
  std::string block_;          // of a header, as far as it has come
  std::uint64_t left_ = 0;     // octets of the file that are to come
  std::uint64_t padding_ = 0;  // and behind it
  int empty_blocks_ = 0;       // two end the archive
};

}  // namespace hallmark::backup
