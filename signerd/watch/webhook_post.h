#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <stop_token>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::watch {

struct Url {
  bool tls = true;
  std::string host, port, target;  // target: "/path?query"
};

// "https://HOST[:PORT][/PATH]", or http to a loopback address. kConfigInvalid otherwise, with the reason.
Result<Url> ParseUrl(const std::string& url);

// Posts JSON; gives the status of the answer. Ends within `limit`, and at once when `stop` asks for it: kIoFailed,
// kDeadlineExceeded. A certificate must verify, against `ca` (PEM) or the system's, and be the host's; TLS 1.3.
Result<unsigned> PostJson(const Url& url, const std::filesystem::path& ca, const std::string& body,
                          const std::map<std::string, std::string>& headers, std::chrono::milliseconds limit,
                          const std::stop_token& stop);

}  // namespace hallmark::watch
