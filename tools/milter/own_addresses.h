#pragma once

#include <boost/asio/ip/address.hpp>

#include <chrono>
#include <functional>
#include <mutex>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::milter {

// The addresses of this host's interfaces, loopback among them. kIoFailed where the system does not say.
Result<std::vector<boost::asio::ip::address>> InterfaceAddresses();

// Which addresses are this host's own. An interface may come up later, or get another address: they are listed again,
// once a second at most. Any thread.
class OwnAddresses {
 public:
  using Lister = std::function<Result<std::vector<boost::asio::ip::address>>()>;
  using Time = std::chrono::steady_clock::time_point;

  // `listed` is what `list` said just now.
  OwnAddresses(Lister list, std::vector<boost::asio::ip::address> listed, Time now);

  // IPv4 addresses mapped into IPv6 are the IPv4 ones, and the zone of a link-local one does not matter.
  bool Has(const boost::asio::ip::address& address, Time now);

 private:
  const Lister list_;
  std::mutex mutex_;  // guards what follows
  std::vector<boost::asio::ip::address> addresses_;
  Time looked_;
  bool failing_ = false;
};

}  // namespace hallmark::milter
