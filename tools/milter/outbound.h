#pragma once

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "tools/milter/macros.h"

// Which mail is the organisation's own and is to be signed, and for whom. Pure.
namespace hallmark::milter {

// An address range ("192.0.2.0/24", "2001:db8::/32"); an address alone is a range of one.
class Network {
 public:
  static Result<Network> Parse(std::string_view text);
  // IPv4 addresses mapped into IPv6 are the IPv4 ones.
  bool Contains(const boost::asio::ip::address& address) const;

 private:
  std::optional<boost::asio::ip::network_v4> v4_;
  std::optional<boost::asio::ip::network_v6> v6_;
};

// A message is outbound when any of these holds, and its daemon is not one for inbound mail. The networks alone do not
// make one outbound that comes from this host and has passed another: a content filter hands on inbound mail too.
struct OutboundRules {
  bool authenticated = true;              // by SASL
  std::vector<Network> networks;          // of the client's address; one with 127.0.0.1 has UNIX sockets' clients too
  std::vector<std::string> certificates;  // subjects of client certificates that the MTA verified; patterns
  std::vector<std::string> daemon_names;
  std::vector<std::string> daemon_ports;
  std::vector<std::string> inbound_daemon_names;
  bool reinjected = false;  // what this host hands over is outbound, wherever it was before
  // Whether an address is one of this host's own, beside loopback. Null: none is. Any thread.
  std::function<bool(const boost::asio::ip::address&)> is_own_address;
};

// One [[partner]] of the configuration. Users and certificates are patterns.
struct PartnerRule {
  std::string name;
  std::vector<std::string> users, certificates, daemon_names, daemon_ports;
};

// Where the message comes from, as the connection command said.
struct Peer {
  std::optional<boost::asio::ip::address> address;
  bool local = false;  // a UNIX socket
};

enum class Origin : std::uint8_t {
  kOutside,   // not outbound
  kThisHost,  // outbound unless it has a Received field: MTAs do not show a milter their own
  kOwn,       // outbound
};
Origin OriginOf(const OutboundRules& rules, const Peer& peer, const Macros& macros);

// The first partner with a rule that holds; empty: none.
std::string_view FindPartner(const std::vector<PartnerRule>& partners, const Macros& macros);

// The whole of `text`, without case. "*" stands for anything at the pattern's beginning and end, and nowhere else.
bool MatchesPattern(std::string_view pattern, std::string_view text);

}  // namespace hallmark::milter
