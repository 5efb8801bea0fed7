#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
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
  using Count = std::function<std::map<std::string, StreamCounts>(const std::set<std::string>& peers)>;

  static constexpr std::uint64_t kMuch = 1 << 20;  // octets since something came to an end
  static constexpr std::chrono::seconds kLong{1};  // since then
  static constexpr std::chrono::milliseconds kWindow{500};
  static constexpr std::uint64_t kSlow = 1 << 20;  // octets a second, in the last window
  static constexpr std::size_t kMost = 64;         // connections: those with most waiting

  // To be called some times a second. Those of `accepted` that are so by now; `count` is CountStreams.
  std::vector<std::string> Find(const AcceptedConnections& accepted, const Count& count, Time now);

 private:
  struct Entry {
    StreamCounts counts;
    std::uint64_t read = 0;  // when they became so
    Time since{};
    // Of the window.
    std::uint64_t window_read = 0;
    Time window{};
    int looks = 0, waiting = 0;
  };
  // Whether it was so for all of the window; another one begins.
  static bool EndsSlowWindow(Entry& entry, const AcceptedConnection& connection, Time now);
  std::map<std::string, Entry> entries_;
};

}  // namespace hallmark::service
