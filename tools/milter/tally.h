#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tools/milter/outage.h"
#include "tools/milter/warning_tally.h"

namespace hallmark::milter {

// What became of a message.
enum class Verdict : std::uint8_t {
  kSigned,
  kLeftAlone,  // not outbound
  kUnsigned,   // outbound, and let pass without a signature, as [on] says
  kTempfailed,
  kRejected,
  kAborted,  // by the MTA, or with its connection
};
inline constexpr std::size_t kVerdicts = 6;

// Why an outbound message was not signed; each has its line under [on], but for kLimited, which is always a temporary
// failure.
enum class Trouble : std::uint8_t { kUnavailable, kLimited, kRefused, kUnconfigured };
inline constexpr std::size_t kTroubles = 4;

// Counted by all connections, read by a scrape.
struct Tally {
  std::array<std::atomic<std::uint64_t>, kVerdicts> messages{};
  std::array<std::atomic<std::uint64_t>, kTroubles> troubles{};
  std::atomic<std::uint64_t> connections_taken{0}, connections_refused{0}, protocol_errors{0};
  std::atomic<std::int64_t> connections_open{0};
  WarningTally warnings;
  Outage outage;

  void Count(Verdict verdict) { messages[static_cast<std::size_t>(verdict)].fetch_add(1, std::memory_order_relaxed); }
  void Count(Trouble trouble) { troubles[static_cast<std::size_t>(trouble)].fetch_add(1, std::memory_order_relaxed); }
};

}  // namespace hallmark::milter
