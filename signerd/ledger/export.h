#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/ledger/checkpoint.h"

namespace hallmark::ledger {

struct ExportInput {
  std::filesystem::path directory;
  // Who signs the checkpoints, and who did before: asked when it is known which are exported.
  std::function<Result<VerifierKeys>()> keys;
  // What is durable now: asked after the checkpoints were read, so that each of them is of no more.
  std::function<TreeHead()> durable;
  // Told of each file and its length before its octets; may be null. An error ends the work.
  std::function<Status(const std::string& path, std::uint64_t octets)> begin;
  // Takes octets of the file `path` (below the folder); those of one file follow each other. False ends the work.
  std::function<bool(const std::string& path, std::string_view octets, std::uint64_t records)> take;
};

// Gives a ledger's files as they are at one moment, while the ledger goes on: segments up to the last durable record,
// what is kept of deleted ones, checkpoints and the verifier key. The key of hashed recipients is not among them.
// No segment may be deleted meanwhile (Ledger::KeepSegments). Returns how many records there are. kIoFailed;
// kInvalidArgument: damage; kCancelled; the error of `keys`. Any thread, for long.
Result<std::uint64_t> Export(const ExportInput& input);

}  // namespace hallmark::ledger
