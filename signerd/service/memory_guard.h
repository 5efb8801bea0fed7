#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <thread>

#include "signerd/service/accepted.h"
#include "signerd/service/acceptor.h"

namespace hallmark::service {

// Keeps one connection of a listener from filling the memory, whatever it sends to that end. gRPC 1.51 bounds what it
// holds of a stream, but neither calls that were given up and are not dismissed yet (rapid reset, CVE-2023-44487), nor
// how much of the whole one connection has; over its own quota it ends calls of whoever is there.
//
// Twenty times a second it looks how much memory the process has; from half of what is too much on it notes what was
// read from whom. While it is too much, the connection from which most was read of late is ended, if that is much, with
// those from its network that have much to be read; then no other for as long as memory does not grow any further. Nor
// are new connections taken while there is too much: what was given up on connections that are closed lies there until
// it is dismissed, and whoever made it would come back with more. What is still there after a quarter of a minute is no
// such thing, and counts as the daemon's own. Any build whose allocator is not glibc's (sanitizers) has a guard that
// does nothing.
class MemoryGuard {
 public:
  // `most_octets`: allocated since now, beside what connections need. `hold_octets`, not less: from there on the
  // acceptor takes no more connections. It lives longer.
  MemoryGuard(Acceptor& acceptor, std::size_t most_octets, std::size_t hold_octets);

 private:
  void Watch(const std::stop_token& stop);
  void Look();
  void EndBusiest(std::size_t allocated);
  void Hold(bool held);

  Acceptor& acceptor_;
  const std::size_t most_octets_, hold_octets_, at_start_;
  // Of the thread.
  std::deque<AcceptedConnections> looks_;  // the last ones, the newest at the end
  std::optional<std::size_t> ended_at_;    // what was allocated when the last connection was ended
  int looks_since_ = 0;                    // since then
  // At the start; and later what stayed there while no connections were taken: more domains, not calls.
  std::size_t own_octets_;
  std::optional<std::chrono::steady_clock::time_point> held_since_;  // set: no connections are taken
  std::optional<std::chrono::steady_clock::time_point> said_;        // when it was, that no connections are taken
  std::jthread thread_;                                              // last: it uses the others
};

}  // namespace hallmark::service
