#include "signerd/service/slow_reads.h"

namespace hallmark::service {

std::vector<SocketId> SlowReads::Find(const AcceptedConnections& accepted, const Count& count, Time now) {
  const std::set<SocketId> wanted = Wanted(accepted);
  std::erase_if(entries_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  std::vector<SocketId> slow;
  if (wanted.empty()) return slow;
  for (const auto& [id, counts] : count(wanted)) {
    const AcceptedConnection& connection = accepted.at(id);
    const auto [found, is_new] = entries_.try_emplace(id);
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
    if (is_slow && now >= entry.since + kLong && connection.read >= entry.read + kMuch) slow.push_back(id);
    entry.window = now;
    entry.looks = entry.slow = 0;
  }
  return slow;
}

std::set<SocketId> SlowReads::Wanted(const AcceptedConnections& accepted) const {
  std::vector<std::pair<std::uint64_t, SocketId>> waiting;
  for (const auto& [id, connection] : accepted) {
    if (connection.unread > 0 || entries_.contains(id)) waiting.emplace_back(connection.unread, id);
  }
  return OfLargest(std::move(waiting), kMost);
}

void SlowReads::AddLook(Entry& entry, const AcceptedConnection& connection, Time now) {
  const std::chrono::duration<double> time = now - entry.looked;
  const double octets = static_cast<double>(connection.read) - static_cast<double>(entry.looked_read);
  ++entry.looks;
  if (connection.unread > 0 && octets < kSlow * time.count()) ++entry.slow;
  entry.looked = now;
  entry.looked_read = connection.read;
}

}  // namespace hallmark::service
