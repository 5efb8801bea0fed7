#pragma once

#include <cstdint>

#include "firmware/runtime/result.h"

namespace hallmark::ledger {

// CRC-32C (Castagnoli) as in RFC 3720 section 12.1: it finds what a disk changed, not what a person did. Any thread.
std::uint32_t Crc32c(ByteView octets);

namespace internal {
// The way to it without the processor's instruction, so that tests can compare the two.
std::uint32_t Crc32cByTable(ByteView octets);
}  // namespace internal

}  // namespace hallmark::ledger
