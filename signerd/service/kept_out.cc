#include "signerd/service/kept_out.h"

#include <algorithm>

namespace hallmark::service {

std::chrono::seconds KeptOut::Add(const std::string& network, Time now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(networks_, [&](const auto& entry) { return entry.second.until + kForgiven < now; });
  const auto before = networks_.find(network);
  if (before != networks_.end() && now < before->second.until) return before->second.time;
  const std::chrono::seconds time = before == networks_.end() ? kFirst : std::min(2 * before->second.time, kLongest);
  if (before == networks_.end()) MakeRoom();
  networks_[network] = {now + time, time};
  return time;
}

void KeptOut::Pause(const std::string& network, Time now) {
  const std::lock_guard lock(mutex_);
  if (!networks_.contains(network)) MakeRoom();
  Entry& entry = networks_[network];
  entry = {std::max(entry.until, now + kFirst), std::max(entry.time, kFirst)};
}

void KeptOut::MakeRoom() {
  if (networks_.size() < kMost) return;
  networks_.erase(std::min_element(networks_.begin(), networks_.end(),
                                   [](const auto& a, const auto& b) { return a.second.until < b.second.until; }));
}

bool KeptOut::Has(const std::string& network, Time now) const {
  const std::lock_guard lock(mutex_);
  const auto found = networks_.find(network);
  return found != networks_.end() && now < found->second.until;
}

}  // namespace hallmark::service
