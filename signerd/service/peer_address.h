#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace hallmark::service {

// An end of a TCP connection.
struct PeerAddress {
  std::string host;  // "192.0.2.1", "2001:db8::1"
  std::uint16_t port = 0;
  // What is one peer's at least: the host, or with IPv6 its /64, of which a host may choose as many addresses as it
  // likes: "2001:db8::/64".
  std::string network;
};

// Nothing when the descriptor is no TCP connection, or not one any more. Any thread.
std::optional<PeerAddress> PeerAddressOf(int descriptor);
// The same of this end. A listener has one too.
std::optional<PeerAddress> OwnAddressOf(int descriptor);

}  // namespace hallmark::service
