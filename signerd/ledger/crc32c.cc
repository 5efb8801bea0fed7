#include "signerd/ledger/crc32c.h"

#include <array>
#include <cstring>

namespace hallmark::ledger {
namespace internal {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // reversed

// kTables[k][b]: what octet b contributes when k octets follow it.
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (std::uint32_t octet = 0; octet < 256; ++octet) {
    std::uint32_t crc = octet;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][octet] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t octet = 0; octet < 256; ++octet) {
      tables[k][octet] = (tables[k - 1][octet] >> 8) ^ tables[0][tables[k - 1][octet] & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

std::uint32_t Crc32cByTable(ByteView octets) {
  std::uint32_t crc = 0xffffffff;
  const std::uint8_t* at = octets.data();
  std::size_t left = octets.size();
  for (; left >= 8; left -= 8, at += 8) {
    crc ^= std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 | std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24;
    crc = kTables[7][crc & 0xff] ^ kTables[6][(crc >> 8) & 0xff] ^ kTables[5][(crc >> 16) & 0xff] ^
          kTables[4][crc >> 24] ^ kTables[3][at[4]] ^ kTables[2][at[5]] ^ kTables[1][at[6]] ^ kTables[0][at[7]];
  }
  for (; left > 0; --left, ++at) crc = (crc >> 8) ^ kTables[0][(crc ^ *at) & 0xff];
  return ~crc;
}

}  // namespace internal

namespace {

#if defined(__x86_64__)

bool HaveCrcInstruction() {
  static const bool have = __builtin_cpu_supports("sse4.2") != 0;
  return have;
}

__attribute__((target("sse4.2"))) std::uint32_t Crc32cByInstruction(ByteView octets) {
  std::uint64_t crc = 0xffffffff;
  const std::uint8_t* at = octets.data();
  std::size_t left = octets.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  std::uint32_t rest = static_cast<std::uint32_t>(crc);
  for (; left > 0; --left, ++at) rest = __builtin_ia32_crc32qi(rest, *at);
  return ~rest;
}

#else

bool HaveCrcInstruction() { return false; }
std::uint32_t Crc32cByInstruction(ByteView octets) { return internal::Crc32cByTable(octets); }

#endif

}  // namespace

std::uint32_t Crc32c(ByteView octets) {
  return HaveCrcInstruction() ? Crc32cByInstruction(octets) : internal::Crc32cByTable(octets);
}

}  // namespace hallmark::ledger
