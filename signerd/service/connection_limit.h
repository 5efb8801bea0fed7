#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <string>

namespace hallmark::service {

// How many connections a listener has at once, of whom: a network (PeerAddress's) may have as many as are still free.
// So one alone gets half of them, each of two a third, and whoever comes after any number of them still finds room.
// One thread.
class ConnectionLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Counts = std::map<std::string, std::size_t>;  // connections by network
  static constexpr std::chrono::milliseconds kRecount{500};

  // `count` says which are open now, with the one that Take is asked about. It is called when there seems to be no more
  // room, once in kRecount at most: nobody tells when a connection ends.
  ConnectionLimit(std::size_t most, std::function<Counts()> count) : most_(most), count_(std::move(count)) {}

  // Whether there is room for another one of the network; then it counts.
  bool Take(const std::string& network, Time now);

  // As far as is known: at least those that are open.
  std::size_t Of(const std::string& network) const;
  std::size_t all() const { return all_; }
  std::size_t most() const { return most_; }

 private:
  bool HasRoom(const std::string& network) const { return all_ < most_ && Of(network) < most_ - all_; }
  const std::size_t most_;
  const std::function<Counts()> count_;
  Counts counts_;
  std::size_t all_ = 0;  // the sum of counts_
  Time counted_{};
};

}  // namespace hallmark::service
