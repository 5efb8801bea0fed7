#include "signerd/service/memory_guard.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include <unistd.h>

#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"

namespace hallmark::service {
namespace {

// A peer on a fast link fills 100 MiB in 200 ms.
constexpr std::chrono::milliseconds kInterval{50};
constexpr std::size_t kLooks = 5;          // that are kept: who sends most is told from the last 200 ms
constexpr int kLooksBetween = 4;           // from one end of connections to the next, at least
constexpr std::size_t kGrowth = 16 << 20;  // since the last end, or nobody else is ended
constexpr int kLooksToTrim = 40;
constexpr std::uint64_t kMuch = 16 << 10;             // octets: of these 200 ms, or that are unread
constexpr std::size_t kConnectionOctets = 128 << 10;  // gRPC's and OpenSSL's share of one
constexpr std::size_t kWorthTrimming = 64 << 20;
constexpr std::chrono::minutes kSaid{5};
constexpr std::chrono::seconds kLongestHold{15};  // far longer than any backlog of calls takes

std::size_t Resident() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t Allocated() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace

MemoryGuard::MemoryGuard(Acceptor& acceptor, std::size_t most_octets, std::size_t hold_octets)
    : acceptor_(acceptor),
      most_octets_(most_octets),
      hold_octets_(hold_octets),
      at_start_(Allocated()),
      own_octets_(at_start_),
      thread_([this](const std::stop_token& stop) { Watch(stop); }) {}

void MemoryGuard::Watch(const std::stop_token& stop) {
  do {
    Look();
  } while (Pause(stop, kInterval));
}

void MemoryGuard::Look() {
  ++looks_since_;
  if (own_octets_ > at_start_) own_octets_ = std::clamp(Allocated(), at_start_, own_octets_);
  const std::size_t resident = Resident();
  if (resident < own_octets_ + most_octets_ / 2) {  // the usual way: nothing else is asked for
    looks_.clear();
    ended_at_.reset();
    Hold(false);
    return;
  }
  const std::size_t allocated = Allocated();
  if (allocated < own_octets_ + most_octets_ / 2) {
    looks_.clear();
  } else {
    looks_.push_back(AcceptedOn(acceptor_.port()));
    if (looks_.size() > kLooks) looks_.pop_front();
  }
  const std::size_t for_connections = looks_.empty() ? 0 : looks_.back().size() * kConnectionOctets;
  const std::size_t needed = own_octets_ + for_connections;
  Hold(allocated >= needed + hold_octets_);
  if (held_since_ && std::chrono::steady_clock::now() > *held_since_ + kLongestHold) {
    own_octets_ = allocated - for_connections;
    Hold(false);
    return;
  }
  if (looks_.empty() || allocated < needed + most_octets_) {
    ended_at_.reset();
    // What was freed stays with the allocator, in pieces, until it is told otherwise.
    if (resident > std::max(own_octets_ + most_octets_, allocated + kWorthTrimming) && looks_since_ >= kLooksToTrim) {
      ::malloc_trim(0);
      looks_since_ = 0;
    }
    return;
  }
  const bool is_growing = !ended_at_ || (looks_since_ >= kLooksBetween && allocated > *ended_at_ + kGrowth);
  if (looks_.size() > 1 && is_growing) EndBusiest(allocated);
}

void MemoryGuard::Hold(bool held) {
  acceptor_.Hold(held);
  const auto now = std::chrono::steady_clock::now();
  if (!held) held_since_.reset();
  if (held && !held_since_) held_since_ = now;
  if (!held || (said_ && now < *said_ + kSaid)) return;
  said_ = now;
  log::warn(
      "no connections are taken on port {} while so much memory is allocated; it may be so again, and is said once in "
      "{} minutes",
      acceptor_.port(), kSaid.count());
}

void MemoryGuard::EndBusiest(std::size_t allocated) {
  const AcceptedConnections::value_type* busiest = nullptr;
  std::uint64_t most = kMuch;
  for (const auto& entry : looks_.back()) {
    const std::uint64_t sent = ReadSince(looks_.front(), entry);
    if (sent > most) {
      most = sent;
      busiest = &entry;
    }
  }
  if (busiest == nullptr || !EndConnection(*busiest)) return;
  int others = 0;
  for (const auto& entry : looks_.back()) {
    const AcceptedConnection& connection = entry.second;
    if (&entry == busiest || connection.network != busiest->second.network || connection.unread < kMuch) continue;
    others += EndConnection(entry) ? 1 : 0;
  }
  log::warn(
      "the connection from {} is ended: {} MiB are allocated, and most was read from it of late: {} KiB in {} ms; and "
      "{} "
      "more from its network, with as much still to be read",
      busiest->second.peer, allocated >> 20, most >> 10, (looks_.size() - 1) * kInterval.count(), others);
  ended_at_ = allocated;
  looks_since_ = 0;
}

}  // namespace hallmark::service
