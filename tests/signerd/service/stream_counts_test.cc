#include "signerd/service/stream_counts.h"

#include <gtest/gtest.h>

namespace hallmark::service {
namespace {

TEST(StreamCounts, UnderWayAreThoseThatHaveNotEnded) {
  EXPECT_EQ((StreamCounts{100, 60, 30, 100, ""}.UnderWay()), 10u);
  EXPECT_EQ((StreamCounts{100, 60, 40, 100, ""}.UnderWay()), 0u);
}

// A relay's calls that begin and end while the counts are read are no flood.
TEST(StreamCounts, MoreMayHaveEndedThanHadBegun) { EXPECT_EQ((StreamCounts{100, 102, 1, 103, ""}.UnderWay()), 0u); }

}  // namespace
}  // namespace hallmark::service
