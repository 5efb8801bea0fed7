#include "signerd/service/slow_reads.h"

#include <algorithm>

namespace hallmark::service {
namespace {

// Those with most waiting, and those that are watched already: whoever sends it piece by piece has nothing waiting now
// and then.
template <typename Entries>
std::set<std::string> Wanted(const AcceptedConnections& accepted, const Entries& entries) {
  std::vector<std::pair<std::uint64_t, std::string>> waiting;
  for (const auto& [peer, connection] : accepted) {
    if (connection.unread > 0 || entries.contains(peer)) waiting.emplace_back(connection.unread, peer);
  }
  const auto end = waiting.begin() + static_cast<std::ptrdiff_t>(std::min(waiting.size(), SlowReads::kMost));
  std::partial_sort(waiting.begin(), end, waiting.end(), std::greater<>());
  std::set<std::string> wanted;
  for (auto one = waiting.begin(); one != end; ++one) wanted.insert(one->second);
  return wanted;
}

}  // namespace

std::vector<std::string> SlowReads::Find(const AcceptedConnections& accepted, const Count& count, Time now) {
  const std::set<std::string> wanted = Wanted(accepted, entries_);
  std::erase_if(entries_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  std::vector<std::string> slow;
  if (wanted.empty()) return slow;
  for (const auto& [peer, counts] : count(wanted)) {
    const AcceptedConnection& connection = accepted.at(peer);
    const auto [found, is_new] = entries_.try_emplace(peer);
    Entry& entry = found->second;
    if (is_new || entry.counts != counts) {
      if (connection.unread > 0) {
        entry = {counts, connection.read, now, connection.read, now, now};
      } else {
        entries_.erase(found);
      }
      continue;
    }
    AddLook(entry, connection, now);
    if (now < entry.window + kWindow || entry.looks < kLooks) continue;
    if (entry.slow == 0) {
      entries_.erase(found);
      continue;
    }
    const bool is_slow = 2 * entry.slow >= entry.looks;
    if (is_slow && now >= entry.since + kLong && connection.read >= entry.read + kMuch) slow.push_back(peer);
    entry.window = now;
    entry.looks = entry.slow = 0;
  }
  return slow;
}

void SlowReads::AddLook(Entry& entry, const AcceptedConnection& connection, Time now) {
  const std::chrono::duration<double> time = now - entry.looked;
  const auto octets = static_cast<double>(connection.read - entry.looked_read);
  ++entry.looks;
  if (connection.unread > 0 && octets < kSlow * time.count()) ++entry.slow;
  entry.looked = now;
  entry.looked_read = connection.read;
}

}  // namespace hallmark::service
