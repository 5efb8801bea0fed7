#include "tools/dkimload/arrivals.h"

#include <cmath>

namespace hallmark::load {

std::chrono::nanoseconds Arrivals::Next() {
  // The standard library's distributions may differ from one machine to the next; its generator may not.
  const double uniform = std::ldexp(static_cast<double>(random_() >> 11), -53);  // 0 <= uniform < 1
  at_seconds_ -= std::log1p(-uniform) / per_second_;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(at_seconds_ * 1e9));
}

}  // namespace hallmark::load
