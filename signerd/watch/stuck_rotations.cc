#include "signerd/watch/stuck_rotations.h"

namespace hallmark::watch {
namespace {

constexpr std::size_t kMostNamed = 5;

}  // namespace

std::optional<Alarm> StuckRotations::Step(const std::map<std::string, std::string>& stuck,
                                          std::chrono::steady_clock::time_point now) {
  std::erase_if(told_, [&](const std::string& domain) { return !stuck.contains(domain); });
  if (last_ && now - *last_ < kPause) return std::nullopt;
  std::string names, first_domain, first_why;
  std::size_t fresh = 0;
  for (const auto& [domain, why] : stuck) {
    if (!told_.insert(domain).second) continue;
    if (++fresh == 1) first_domain = domain, first_why = why;
    if (fresh <= kMostNamed) names += (fresh == 1 ? "" : ", ") + domain;
  }
  if (fresh == 0) return std::nullopt;
  last_ = now;
  Alarm alarm{"ROTATION_STUCK", "", fresh == 1 ? first_domain : "", ""};
  if (fresh == 1) {
    alarm.message = first_domain + ": keys do not rotate: " + first_why;
  } else {
    if (fresh > kMostNamed) names += " and " + std::to_string(fresh - kMostNamed) + " more";
    alarm.message = "keys of " + std::to_string(fresh) + " domains do not rotate: " + names + "; of " + first_domain +
                    ": " + first_why;
  }
  return alarm;
}

}  // namespace hallmark::watch
