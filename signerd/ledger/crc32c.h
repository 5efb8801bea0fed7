#pragma once

#include <cstdint>

#include "firmware/runtime/result.h"

namespace hallmark::ledger {

// CRC-32C (Castagnoli) as in RFC 3720 section 12.1: it finds what a disk changed, not what a person did. Any thread.
std::uint32_t Crc32c(ByteView octets);

namespace internal {
// The two ways to it, so that tests can compare them. The first needs SSE4.2.
bool HaveCrcInstruction();
std::uint32_t Crc32cByInstruction(ByteView octets);
std::uint32_t Crc32cByTable(ByteView octets);
}  // namespace internal

}  // namespace hallmark::ledger
