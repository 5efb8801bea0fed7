#include "signerd/service/accepted.h"

#include <gtest/gtest.h>

namespace hallmark::service {
namespace {

AcceptedConnection Read(std::uint64_t octets) {
  AcceptedConnection connection;
  connection.read = octets;
  return connection;
}

TEST(ReadSince, IsWhatCameOnTopOrAllOfANewConnection) {
  const AcceptedConnections before{{1, Read(100)}}, now{{1, Read(130)}, {2, Read(40)}};
  EXPECT_EQ(ReadSince(before, *now.find(1)), 30u);
  EXPECT_EQ(ReadSince(before, *now.find(2)), 40u);
}

// Octets that arrived while they were counted. An innocent connection would be the one that most was read from.
TEST(ReadSince, IsNothingWhereItSeemsToGoBack) {
  const AcceptedConnections before{{1, Read(100)}}, now{{1, Read(90)}};
  EXPECT_EQ(ReadSince(before, *now.begin()), 0u);
}

}  // namespace
}  // namespace hallmark::service
