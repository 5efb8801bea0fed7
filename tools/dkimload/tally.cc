#include "tools/dkimload/tally.h"

namespace hallmark::load {

void Tally::Add(const Ticket& ticket, const Ending& ending, Clock::time_point now) {
  const bool well = ending.well();
  ended_.fetch_add(1, std::memory_order_relaxed);
  if (!well) failed_so_far_.fetch_add(1, std::memory_order_relaxed);
  if (window_.Holds(now)) {
    ++answered_in_window_;
    if (well) ++well_in_window_;
  }
  if (!window_.Holds(ticket.intended)) return;
  const auto latency = std::chrono::ceil<std::chrono::microseconds>(now - ticket.intended);
  (well ? well_ : failed_).Add(latency.count());
  if (!well) ++failures_[{ending.code, ending.reason}];
}

}  // namespace hallmark::load
