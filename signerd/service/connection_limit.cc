#include "signerd/service/connection_limit.h"

namespace hallmark::service {

std::size_t ConnectionLimit::Of(const std::string& network) const {
  const auto found = counts_.find(network);
  return found == counts_.end() ? 0 : found->second;
}

bool ConnectionLimit::Take(const std::string& network, Time now) {
  if (!HasRoom(network)) {
    if (now < counted_ + kRecount) return false;
    counted_ = now;
    counts_ = count_();
    if (Of(network) > 0) --counts_[network];
    all_ = 0;
    for (const auto& [of, connections] : counts_) all_ += connections;
    if (!HasRoom(network)) return false;
  }
  ++counts_[network];
  ++all_;
  return true;
}

}  // namespace hallmark::service
