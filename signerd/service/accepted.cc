#include "signerd/service/accepted.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>

#include "signerd/service/peer_address.h"

namespace hallmark::service {
namespace {

constexpr std::size_t kMostUnread = 16 << 20;  // at once

std::uint16_t OwnPort(int descriptor) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &size) != 0) return 0;
  if (own.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(own).sin_port);
  if (own.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(own).sin6_port);
  return 0;
}

// Nothing when it was not accepted on the port.
std::optional<PeerAddress> PeerOn(int descriptor, std::uint16_t port) {
  return OwnPort(descriptor) == port ? PeerAddressOf(descriptor) : std::nullopt;
}

std::string Name(const PeerAddress& peer) { return peer.host + ":" + std::to_string(peer.port); }

}  // namespace

AcceptedConnections AcceptedOn(std::uint16_t port) {
  AcceptedConnections accepted;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    AcceptedConnection connection;
    std::from_chars(name.data(), name.data() + name.size(), connection.descriptor);
    const auto peer = PeerOn(connection.descriptor, port);
    if (!peer) continue;
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(connection.descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    // What still lies in the kernel has cost nothing yet.
    int unread = 0;
    if (::ioctl(connection.descriptor, FIONREAD, &unread) != 0) continue;
    connection.unread = static_cast<std::uint64_t>(unread);
    connection.read = info.tcpi_bytes_received - connection.unread;
    connection.network = peer->network;
    accepted.emplace(Name(*peer), connection);
  }
  return accepted;
}

std::set<std::string> PeersOfLargest(std::vector<std::pair<std::uint64_t, std::string>> numbers, std::size_t most) {
  const auto end = numbers.begin() + static_cast<std::ptrdiff_t>(std::min(numbers.size(), most));
  std::partial_sort(numbers.begin(), end, numbers.end(), std::greater<>());
  std::set<std::string> peers;
  for (auto one = numbers.begin(); one != end; ++one) peers.insert(one->second);
  return peers;
}

bool EndConnection(const AcceptedConnections::value_type& connection, std::uint16_t port) {
  const auto& [name, accepted] = connection;
  const auto peer = PeerOn(accepted.descriptor, port);
  if (!peer || Name(*peer) != name || ::shutdown(accepted.descriptor, SHUT_RDWR) != 0) return false;
  // With TCP, MSG_TRUNC copies nothing (tcp(7)).
  while (::recv(accepted.descriptor, nullptr, kMostUnread, MSG_DONTWAIT | MSG_TRUNC) > 0) continue;
  return true;
}

}  // namespace hallmark::service
