#include "signerd/service/accepted.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>

#include "signerd/service/peer_address.h"

namespace hallmark::service {
namespace {

constexpr std::size_t kMostUnread = 16 << 20;  // at once

// Zero when nothing is open there.
SocketId IdOf(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

std::string Name(const PeerAddress& end) { return end.host + ":" + std::to_string(end.port); }

// False when it is none that was accepted on the port, or not one any more.
bool Describe(AcceptedConnection& connection, std::uint16_t port) {
  const auto own = OwnAddressOf(connection.descriptor);
  if (!own || own->port != port) return false;
  const auto peer = PeerAddressOf(connection.descriptor);
  // What still lies in the kernel has cost nothing yet. It is asked for first, and so never more than was received.
  int unread = 0;
  tcp_info info{};
  socklen_t size = sizeof info;
  if (!peer || ::ioctl(connection.descriptor, FIONREAD, &unread) != 0 ||
      ::getsockopt(connection.descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return false;
  }
  connection.unread = static_cast<std::uint64_t>(unread);
  connection.read = info.tcpi_bytes_received - connection.unread;
  connection.network = peer->network;
  connection.peer = Name(*peer);
  connection.own = Name(*own);
  return true;
}

}  // namespace

AcceptedConnections AcceptedOn(std::uint16_t port) {
  AcceptedConnections accepted;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    AcceptedConnection connection;
    std::from_chars(name.data(), name.data() + name.size(), connection.descriptor);
    const SocketId id = IdOf(connection.descriptor);
    // Meanwhile the descriptor may have become another's.
    if (Describe(connection, port) && IdOf(connection.descriptor) == id) accepted.emplace(id, std::move(connection));
  }
  return accepted;
}

std::uint64_t ReadSince(const AcceptedConnections& before, const AcceptedConnections::value_type& connection) {
  const auto& [id, now] = connection;
  const auto found = before.find(id);
  const std::uint64_t then = found == before.end() ? 0 : found->second.read;
  return now.read > then ? now.read - then : 0;
}

std::set<SocketId> OfLargest(std::vector<std::pair<std::uint64_t, SocketId>> numbers, std::size_t most) {
  const auto end = numbers.begin() + static_cast<std::ptrdiff_t>(std::min(numbers.size(), most));
  std::partial_sort(numbers.begin(), end, numbers.end(), std::greater<>());
  std::set<SocketId> largest;
  for (auto one = numbers.begin(); one != end; ++one) largest.insert(one->second);
  return largest;
}

bool EndConnection(const AcceptedConnections::value_type& connection) {
  const auto& [id, accepted] = connection;
  if (IdOf(accepted.descriptor) != id || ::shutdown(accepted.descriptor, SHUT_RDWR) != 0) return false;
  // With TCP, MSG_TRUNC copies nothing (tcp(7)).
  while (::recv(accepted.descriptor, nullptr, kMostUnread, MSG_DONTWAIT | MSG_TRUNC) > 0) continue;
  return true;
}

}  // namespace hallmark::service
