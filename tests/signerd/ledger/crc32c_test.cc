#include "signerd/ledger/crc32c.h"

#include <gtest/gtest.h>

#include <random>

namespace hallmark::ledger {
namespace {

// RFC 3720 appendix B.4, and the check value that every catalogue of CRCs gives.
TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(Crc32c(Bytes(32, 0)), 0x8a9136aau);
  EXPECT_EQ(Crc32c(Bytes(32, 0xff)), 0x62a8ab43u);
  Bytes rising(32);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(Crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xe3069283u);
  EXPECT_EQ(Crc32c({}), 0u);
}

// Where the processor has an instruction for it, that is what Crc32c uses.
TEST(Crc32c, AgreesWithTheTable) {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 200; ++size) {
    Bytes octets(size);
    for (auto& octet : octets) octet = static_cast<std::uint8_t>(random());
    EXPECT_EQ(Crc32c(octets), internal::Crc32cByTable(octets)) << size;
  }
}

}  // namespace
}  // namespace hallmark::ledger
