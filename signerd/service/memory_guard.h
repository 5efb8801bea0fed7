#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>

namespace hallmark::service {

// Keeps one connection of a listener from filling the memory, whatever it sends to that end. gRPC 1.51 bounds what it
// holds of a stream, but neither calls that were given up and are not dismissed yet (rapid reset, CVE-2023-44487), nor
// how much of the whole one connection has; over its own quota it ends calls of whoever is there.
//
// Twenty times a second it looks how much memory the process has; from half of what is too much on it notes what was
// read from whom. While it is too much, the connection from which most was read of late is ended, if that is much, and
// then no other for as long as memory does not grow any further. Any build whose allocator is not glibc's (sanitizers)
// has a guard that does nothing.
class MemoryGuard {
 public:
  // `port`: of the listener, on whatever address. `most_octets`: allocated since now, beside what connections need.
  MemoryGuard(std::uint16_t port, std::size_t most_octets);

 private:
  struct Connection {
    int descriptor = -1;
    std::uint64_t read = 0;  // octets, since it was made
  };
  using Connections = std::map<std::string, Connection>;  // by the peer's address and port

  void Watch(const std::stop_token& stop);
  void Look();
  void EndBusiest(std::size_t allocated);
  Connections Accepted() const;

  const std::uint16_t port_;
  const std::size_t most_octets_, at_start_;
  // Of the thread.
  std::deque<Connections> looks_;        // the last ones, the newest at the end
  std::optional<std::size_t> ended_at_;  // what was allocated when the last connection was ended
  int looks_since_ = 0;                  // since then
  std::jthread thread_;                  // last: it uses the others
};

}  // namespace hallmark::service
