#pragma once

#include <string_view>

// What a configuration may name: each of these goes into a file that another program reads, so none of them takes more
// than it must. Pure.
namespace hallmark::provision {

// Labels of lower-case letters, digits and "-" (RFC 1123), at most 253 octets together; not an address.
bool IsHostName(std::string_view text);
// That a box can have: Linux takes 64 octets (HOST_NAME_MAX), and so does a certificate's common name (RFC 5280).
bool IsBoxName(std::string_view text);
bool IsIpAddress(std::string_view text);
// An address, "/" and how many bits of it are the network's.
bool IsIpPrefix(std::string_view text);
bool IsInterfaceName(std::string_view text);
// Relative, at most two folders deep, each part of letters, digits, ".", "_" and "-", not beginning with ".".
bool IsFileName(std::string_view text);

}  // namespace hallmark::provision
