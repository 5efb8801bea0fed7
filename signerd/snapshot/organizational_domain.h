#pragma once

#include <string_view>

// The Public Suffix List (libpsl: the newer of Debian's file and the library's own copy, read once). Any thread.
namespace hallmark::snapshot {

// Whether names are registered directly below `domain` ("com", "co.uk"). A-labels in lower case.
bool IsPublicSuffix(std::string_view domain);

// The organizational domain (RFC 7489 section 3.2): one label below the public suffix, within `domain`. Empty for a
// public suffix.
std::string_view OrganizationalDomain(std::string_view domain);

}  // namespace hallmark::snapshot
