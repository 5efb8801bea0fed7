#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace hallmark::service {

// Networks (PeerAddress's), or certificates, from which no connection is taken for a while. Any thread.
class KeptOut {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kFirst{1}, kLongest{64};
  static constexpr std::chrono::minutes kForgiven{10};  // after it was let in again
  static constexpr std::size_t kMost = 1024;            // networks: more push those out that were let in first

  // Keeps it out from now on: for kFirst, or twice as long as the last time when that is not forgiven. Nothing changes
  // while it is kept out: of many connections that end together each is told. For how long.
  std::chrono::seconds Add(const std::string& network, Time now);
  // Keeps it out for kFirst at least, whatever it did before.
  void Pause(const std::string& network, Time now);
  bool Has(const std::string& network, Time now) const;

 private:
  void MakeRoom();
  struct Entry {
    Time until;
    std::chrono::seconds time;
  };
  mutable std::mutex mutex_;  // guards networks_
  std::map<std::string, Entry> networks_;
};

}  // namespace hallmark::service
