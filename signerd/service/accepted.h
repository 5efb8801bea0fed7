#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hallmark::service {

struct AcceptedConnection {
  int descriptor = -1;
  std::uint64_t read = 0;  // octets that this process has taken, since the connection was made
  std::uint64_t unread = 0;
  std::string network;  // PeerAddress's
};

// By the peer's host and port: "192.0.2.1:50222", "2001:db8::1:50222".
using AcceptedConnections = std::map<std::string, AcceptedConnection>;

// The TCP connections that this process has accepted on the port, on whatever address. A few system calls for each file
// that is open.
AcceptedConnections AcceptedOn(std::uint16_t port);

// The peers of the `most` largest numbers.
std::set<std::string> PeersOfLargest(std::vector<std::pair<std::uint64_t, std::string>> numbers, std::size_t most);

// Shuts a connection of AcceptedOn(port) down, for whoever reads from it to find out, and throws away what was not read
// yet: there may be many calls in it. False when it has been closed since then, and its descriptor may be another's.
bool EndConnection(const AcceptedConnections::value_type& connection, std::uint16_t port);

}  // namespace hallmark::service
