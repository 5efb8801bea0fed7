#pragma once

#include <string_view>

// The Public Suffix List (libpsl: the newer of Debian's file and the library's own copy, read once). Any thread.
namespace hallmark::snapshot {

// The organizational domain (RFC 7489 section 3.2): one label below the public suffix, within `domain` (A-labels in
// lower case). Empty for a public suffix, below which names are registered ("com", "co.uk").
std::string_view OrganizationalDomain(std::string_view domain);

}  // namespace hallmark::snapshot
