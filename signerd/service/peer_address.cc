#include "signerd/service/peer_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

namespace hallmark::service {
namespace {

constexpr std::size_t kNetworkOctets = 8;  // RFC 4291 section 2.5.1: the rest is the interface's

std::string Text(int family, const void* address) {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(family, address, text, sizeof text);
  return text;
}

// `ask`: getpeername or getsockname.
std::optional<PeerAddress> AddressOf(int descriptor, decltype(&::getpeername) ask) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (ask(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return std::nullopt;
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    const std::string host = Text(AF_INET, &four.sin_addr);
    return PeerAddress{host, ntohs(four.sin_port), host};
  }
  if (address.ss_family != AF_INET6) return std::nullopt;
  const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
  const std::uint16_t port = ntohs(six.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {  // of a listener of both kinds
    const std::string host = Text(AF_INET, &six.sin6_addr.s6_addr[12]);
    return PeerAddress{host, port, host};
  }
  in6_addr network = six.sin6_addr;
  std::fill(std::begin(network.s6_addr) + kNetworkOctets, std::end(network.s6_addr), 0);
  return PeerAddress{Text(AF_INET6, &six.sin6_addr), port, Text(AF_INET6, &network) + "/64"};
}

}  // namespace

std::optional<PeerAddress> PeerAddressOf(int descriptor) { return AddressOf(descriptor, &::getpeername); }
std::optional<PeerAddress> OwnAddressOf(int descriptor) { return AddressOf(descriptor, &::getsockname); }

}  // namespace hallmark::service
