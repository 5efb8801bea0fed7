#include "tools/milter/own_addresses.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "firmware/runtime/log.h"

namespace hallmark::milter {
namespace {

namespace ip = boost::asio::ip;

constexpr std::chrono::seconds kLookEvery{1};

// As it is compared: IPv4 where it can be, and without a zone.
ip::address Plain(const ip::address& address) {
  if (address.is_v4()) return address;
  const ip::address_v6 v6 = address.to_v6();
  if (v6.is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, v6);
  return ip::address_v6(v6.to_bytes());
}

std::vector<ip::address> Plain(std::vector<ip::address> addresses) {
  std::ranges::transform(addresses, addresses.begin(), [](const ip::address& address) { return Plain(address); });
  return addresses;
}

// Copied, because nothing promises how a sockaddr is aligned.
template <class Socket>
Socket As(const sockaddr* address) {
  Socket socket{};
  std::memcpy(&socket, address, sizeof(socket));
  return socket;
}

}  // namespace

Result<std::vector<ip::address>> InterfaceAddresses() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) {
    return MakeError(Reason::kIoFailed, std::string("this host's addresses cannot be listed: ") + std::strerror(errno) +
                                            "; a service needs AF_NETLINK in its RestrictAddressFamilies");
  }
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(first, ::freeifaddrs);
  std::vector<ip::address> addresses;
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    if (one->ifa_addr->sa_family == AF_INET) {
      addresses.emplace_back(ip::address_v4(ntohl(As<sockaddr_in>(one->ifa_addr).sin_addr.s_addr)));
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      const auto socket = As<sockaddr_in6>(one->ifa_addr);
      ip::address_v6::bytes_type octets;
      std::memcpy(octets.data(), &socket.sin6_addr, octets.size());
      addresses.emplace_back(ip::address_v6(octets));
    }
  }
  return addresses;
}

OwnAddresses::OwnAddresses(Lister list, std::vector<ip::address> listed, Time now)
    : list_(std::move(list)), addresses_(Plain(std::move(listed))), looked_(now) {}

bool OwnAddresses::Has(const ip::address& address, Time now) {
  const std::lock_guard lock(mutex_);
  if (now - looked_ >= kLookEvery) {
    looked_ = now;
    auto listed = list_();
    if (listed) addresses_ = Plain(std::move(*listed));
    // What was known goes on to hold.
    if (!listed && !failing_) log::warn("{}; those of before are used", listed.error().message);
    failing_ = !listed;
  }
  return std::ranges::find(addresses_, Plain(address)) != addresses_.end();
}

}  // namespace hallmark::milter
