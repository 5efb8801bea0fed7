#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "firmware/runtime/result.h"

// What stands in a segment behind its last whole record when the ledger is opened.
namespace hallmark::ledger {

// No write of the ledger is longer, so a crash leaves no more than that behind what is durable.
constexpr std::size_t kMostWritten = 4u << 20;

// Whether what stands from `offset` on, which is no whole record, can be what a write left that was cut short. A
// process that is killed leaves the beginning of it. A power cut leaves some of its blocks, and zeros where the others
// should be: so whole records may stand behind a gap. kInvalidArgument says why it is damage to what was durable
// instead. kIoFailed.
Status CheckTorn(const std::filesystem::path& segment, std::uint64_t offset);
// Whether a whole frame stands anywhere behind `offset`. kIoFailed.
Result<bool> HasFrameBehind(const std::filesystem::path& segment, std::uint64_t offset);

// What is cut off is kept beside the segment, for whoever wants to know what it was: SEGMENT.torn, then SEGMENT.torn.2
// and so on. Both are durable on return. kIoFailed.
Result<std::filesystem::path> KeepTorn(const std::filesystem::path& segment, std::uint64_t offset);
// The segment as a whole, which was being begun.
Result<std::filesystem::path> PutAside(const std::filesystem::path& segment);

// Such files of one segment, and how many a ledger has. Any thread.
std::vector<std::filesystem::path> TornFiles(const std::filesystem::path& segment);
std::size_t CountTorn(const std::filesystem::path& ledger_directory);

}  // namespace hallmark::ledger
