#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "signerd/service/accepted.h"
#include "signerd/service/stream_counts.h"

namespace hallmark::service {

// Finds connections whose octets cost a processor and come to nothing: a header whose string never ends, which gRPC
// 1.51 takes in anew with each of its frames (CVE-2023-33953), so that 30 MB of it take 50 s. Such a connection has
// octets waiting most of the time, is read from slowly, and neither a call of it begins or ends nor does a message
// arrive. One that is slow itself has nothing waiting; where the daemon is, something comes to an end in all that time.
// One thread.
class SlowReads {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Count = std::function<std::map<SocketId, StreamCounts>(const std::set<SocketId>& connections)>;

  static constexpr std::uint64_t kMuch = 1 << 20;  // octets since something came to an end
  static constexpr std::chrono::seconds kLong{1};  // since then
  static constexpr std::uint64_t kSlow = 1 << 20;  // octets a second
  // Half of the looks in it find it slow, with octets waiting. One alone does where the machine stood still.
  static constexpr std::chrono::milliseconds kWindow{500};
  static constexpr int kLooks = 4;          // in a window, at least
  static constexpr std::size_t kMost = 64;  // connections: those with most waiting

  // To be called some times a second. Those of `accepted` that are so by now; `count` is CountStreams.
  std::vector<SocketId> Find(const AcceptedConnections& accepted, const Count& count, Time now);

 private:
  struct Entry {
    StreamCounts counts;
    std::uint64_t read = 0;  // when they became so
    Time since{};
    std::uint64_t looked_read = 0;  // at the last look
    Time looked{};
    Time window{};            // when it began
    int looks = 0, slow = 0;  // in it
  };
  // Those with most waiting, and those that are watched already: whoever sends piece by piece has nothing waiting now
  // and then.
  std::set<SocketId> Wanted(const AcceptedConnections& accepted) const;
  static void AddLook(Entry& entry, const AcceptedConnection& connection, Time now);
  std::map<SocketId, Entry> entries_;
};

}  // namespace hallmark::service
