#include "signerd/dns/nameserver.h"

#include <arpa/inet.h>

#include <charconv>

namespace hallmark::dns {
namespace {

bool IsAddress(int family, const std::string& text) {
  unsigned char octets[sizeof(in6_addr)];
  return ::inet_pton(family, text.c_str(), octets) == 1;
}

}  // namespace

Result<Nameserver> ParseNameserver(std::string_view text) {
  const Error error =
      MakeError(Reason::kInvalidArgument,
                "\"" + std::string(text) + "\" is no name server: expected ADDRESS, ADDRESS:PORT or [IPv6]:PORT");
  Nameserver server;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return error;
    server.address = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!IsAddress(AF_INET6, server.address) || (!port.empty() && !port.starts_with(':'))) return error;
  } else if (IsAddress(AF_INET6, std::string(text))) {
    server.address = text;
  } else {
    const std::size_t colon = text.find(':');
    server.address = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon);
    if (!IsAddress(AF_INET, server.address)) return error;
  }
  if (port.empty()) return server;
  port.remove_prefix(1);
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), server.port);
  if (code != std::errc() || end != port.data() + port.size() || server.port == 0) return error;
  return server;
}

}  // namespace hallmark::dns
