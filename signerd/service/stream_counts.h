#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "signerd/service/accepted.h"

namespace hallmark::service {

// Of one connection, since it was made, as gRPC counts them (channelz).
struct StreamCounts {
  std::uint64_t begun = 0;
  std::uint64_t answered = 0;  // whatever the answer was
  std::uint64_t failed = 0;    // ended before they were answered: given up, or wrong as HTTP/2
  std::uint64_t messages = 0;  // that arrived whole; a stream of calls is one call with many
  std::string certificate;     // the peer's, in one form for all connections

  bool operator==(const StreamCounts&) const = default;

  // Begun, and not over yet. gRPC reads its counts one after the other, while calls come and go: of those that ended
  // there may be more than of those that had begun.
  std::uint64_t UnderWay() const {
    const std::uint64_t ended = answered + failed;
    return begun > ended ? begun - ended : 0;
  }
};

// What the gRPC servers of this process have counted of these connections, of those that are accepted, as far as they
// have them. Some 50 us for each of them, and 2 us for each connection that there is.
std::map<SocketId, StreamCounts> CountStreams(const std::set<SocketId>& connections,
                                              const AcceptedConnections& accepted);

}  // namespace hallmark::service
