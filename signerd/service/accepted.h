#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hallmark::service {

// The number that the kernel gave a connection's socket, and gives to no other: not to that of another connection from
// the same port of the same peer, to another address of ours or later.
using SocketId = std::uint64_t;

struct AcceptedConnection {
  int descriptor = -1;
  std::uint64_t read = 0;  // octets that this process has taken, since the connection was made
  std::uint64_t unread = 0;
  std::string network;    // PeerAddress's
  std::string peer, own;  // hosts and ports of both ends: "192.0.2.1:50222", "2001:db8::1:50222"
};

using AcceptedConnections = std::map<SocketId, AcceptedConnection>;

// The TCP connections that this process has accepted on the port, on whatever address. A few system calls for each file
// that is open.
AcceptedConnections AcceptedOn(std::uint16_t port);

// What was read from the connection since then. Nothing where it seems to have become less: what was received and what
// is unread are asked for one after the other.
std::uint64_t ReadSince(const AcceptedConnections& before, const AcceptedConnections::value_type& connection);

// Those of the `most` largest numbers.
std::set<SocketId> OfLargest(std::vector<std::pair<std::uint64_t, SocketId>> numbers, std::size_t most);

// Shuts a connection of AcceptedOn() down, for whoever reads from it to find out, and throws away what was not read
// yet: there may be many calls in it. False when it has been closed since then, and its descriptor may be another's.
bool EndConnection(const AcceptedConnections::value_type& connection);

}  // namespace hallmark::service
