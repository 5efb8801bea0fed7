#pragma once

#include <algorithm>
#include <string>

namespace hallmark {

// How an identity of a certificate, "dns:NAME" or "uri:URI", is kept and compared: names of hosts have no case (RFC
// 4343), and so are in lower case; URIs are as they were written. Any thread.
inline std::string NormalIdentity(std::string identity) {
  if (!identity.starts_with("dns:")) return identity;
  std::transform(identity.begin(), identity.end(), identity.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return identity;
}

}  // namespace hallmark
