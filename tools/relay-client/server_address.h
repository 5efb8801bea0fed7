#pragma once

#include <charconv>
#include <string>
#include <system_error>

namespace hallmark::relay {

// "HOST:PORT" or "[IPv6]:PORT", and nothing of gRPC's own name syntax.
inline bool IsHostAndPort(const std::string& server) {
  const std::size_t colon = server.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  const std::string host = server.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (host.find_first_of("/ \t%") != std::string::npos || (!bracketed && host.find(':') != std::string::npos)) {
    return false;
  }
  unsigned port = 0;
  const char* const end = server.data() + server.size();
  const auto read = std::from_chars(server.data() + colon + 1, end, port);
  return read.ec == std::errc() && read.ptr == end && port > 0 && port < 65536;
}

}  // namespace hallmark::relay
