#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "firmware/runtime/result.h"

namespace hallmark::operators {

struct Session {
  std::string token;  // 64 hexadecimal digits: 32 random octets
  std::chrono::sys_seconds expires;
};

// Who is logged in. Kept in memory only, so that a restart ends them all; of each token only its hash is kept, and it
// is good with one certificate. Any thread.
class Sessions {
 public:
  // An operator's oldest session ends where there would be more.
  static constexpr std::size_t kMostEach = 16;

  // `certificate`: SHA-256 of the client certificate.
  Result<Session> Open(const std::string& name, const Bytes& certificate, std::chrono::sys_seconds now,
                       std::chrono::seconds length);
  // The operator and the end of the session; nothing when it is not known, over, or that of another certificate.
  struct Holder {
    std::string name;
    Bytes certificate;
    std::chrono::sys_seconds expires;
  };
  std::optional<Holder> Find(const std::string& token, const Bytes& certificate, std::chrono::sys_seconds now) const;
  void End(const std::string& token);
  void EndAll(const std::string& name);

 private:
  void MakeRoom(const std::string& name, std::chrono::sys_seconds now);
  mutable std::mutex mutex_;  // guards by_hash_
  std::map<Bytes, Holder> by_hash_;
};

}  // namespace hallmark::operators
