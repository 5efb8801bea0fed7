#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark::dns {

// Where to ask.
struct Nameserver {
  std::string address;  // IPv4 or IPv6, without brackets
  std::uint16_t port = 53;

  friend bool operator==(const Nameserver&, const Nameserver&) = default;
};

// "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353". kInvalidArgument otherwise: names are not
// taken, because resolving one would need the answer first. Any thread.
Result<Nameserver> ParseNameserver(std::string_view text);

}  // namespace hallmark::dns
