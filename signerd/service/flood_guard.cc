#include "signerd/service/flood_guard.h"

#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"

namespace hallmark::service {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kInterval{100};
constexpr int kShare = 50;                     // a look may take one part in so many of the time
constexpr std::chrono::milliseconds kBusy{5};  // of processor time from one look to the next
constexpr std::uint64_t kMuch = 1 << 10;       // octets from one look to the next: fewer are not many calls
constexpr std::size_t kBusiest = 8;

// Of a processor. RUSAGE_SELF: by all threads; RUSAGE_THREAD: by this one.
std::chrono::nanoseconds Spent(int by) {
  rusage usage{};
  ::getrusage(by, &usage);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

std::set<SocketId> AllFrom(const std::string& network, const AcceptedConnections& accepted) {
  std::set<SocketId> all;
  for (const auto& [id, connection] : accepted) {
    if (connection.network == network) all.insert(id);
  }
  return all;
}

// Whether all of them show the same certificate.
bool AreOnePeers(const std::map<SocketId, StreamCounts>& counts) {
  std::set<std::string> certificates;
  for (const auto& [id, count] : counts) certificates.insert(count.certificate);
  return certificates.size() <= 1;
}

}  // namespace

FloodGuard::FloodGuard(std::uint16_t port, std::uint64_t most_calls, KeptOut& kept_out)
    : port_(port),
      most_calls_(most_calls),
      kept_out_(kept_out),
      thread_([this](const std::stop_token& stop) { Watch(stop); }) {}

void FloodGuard::Watch(const std::stop_token& stop) {
  std::chrono::nanoseconds pause = kInterval;
  while (Pause(stop, pause)) {
    // Beside a flood this thread also waits for a processor, and that is no reason to look less often.
    const std::chrono::nanoseconds before = Spent(RUSAGE_THREAD);
    if (IsBusy()) Look();
    pause = std::max<std::chrono::nanoseconds>(kInterval, kShare * (Spent(RUSAGE_THREAD) - before));
  }
}

bool FloodGuard::IsBusy() {
  const std::chrono::nanoseconds before = spent_;
  spent_ = Spent(RUSAGE_SELF);
  return spent_ - before >= kBusy;
}

void FloodGuard::Look() {
  AcceptedConnections accepted = AcceptedOn(port_);
  std::erase_if(ended_, [&](SocketId id) { return !accepted.contains(id); });
  EndKeptOut(accepted);
  for (const auto& [id, count] : CountBusiest(accepted)) {
    const std::uint64_t calls = count.UnderWay();
    if (calls > most_calls_) {
      End(id, std::to_string(calls) + " of its calls are under way or given up and not dismissed yet", false, accepted);
    }
  }
  const auto count = [&](const std::set<SocketId>& connections) { return CountStreams(connections, accepted); };
  for (const SocketId id : slow_reads_.Find(accepted, count, steady_clock::now())) {
    End(id, "it sends what comes to no call, and costs a processor (a header without end?)", true, accepted);
  }
  last_ = std::move(accepted);
}

void FloodGuard::End(SocketId id, const std::string& why, bool with_others, const AcceptedConnections& accepted) {
  if (ended_.contains(id)) return;
  const AcceptedConnection& connection = accepted.at(id);
  const std::string &peer = connection.peer, &network = connection.network;
  const auto counts = CountStreams(AllFrom(network, accepted), accepted);
  const auto found = counts.find(id);
  // It may be gone by itself.
  if (found == counts.end() || !EndConnection(*accepted.find(id))) return;
  ended_.insert(id);
  const auto now = steady_clock::now();
  if (AreOnePeers(counts)) {
    const auto time = kept_out_.Add(network, now);
    log::warn("the connection from {} is ended: {}; {} is kept out for {} s", peer, why, network, time.count());
  } else {
    const auto time = certificates_.Add(found->second.certificate, now);
    shared_[network] = now;
    log::warn(
        "the connection from {} is ended: {}; {} is not kept out, as others come from there too, but for {} s all that "
        "come with its certificate are ended, and each time nobody is let in from there for a second",
        peer, why, network, time.count());
  }
  if (with_others) EndOthers(network, found->second.certificate, counts, accepted);
}

void FloodGuard::EndKeptOut(const AcceptedConnections& accepted) {
  std::erase_if(shared_, [&](const auto& network) { return network.second + KeptOut::kLongest < steady_clock::now(); });
  if (shared_.empty()) return;
  std::set<SocketId> from_there;
  for (const auto& [id, connection] : accepted) {
    if (shared_.contains(connection.network) && !ended_.contains(id)) from_there.insert(id);
  }
  for (const auto& [id, counts] : CountStreams(from_there, accepted)) {
    if (!certificates_.Has(counts.certificate, steady_clock::now())) continue;
    if (!EndConnection(*accepted.find(id))) continue;
    ended_.insert(id);
    kept_out_.Pause(accepted.at(id).network, steady_clock::now());
  }
}

void FloodGuard::EndOthers(const std::string& network, const std::string& certificate,
                           const std::map<SocketId, StreamCounts>& counts, const AcceptedConnections& accepted) {
  const bool is_kept_out = kept_out_.Has(network, steady_clock::now());
  int ended = 0;
  for (const SocketId other : AllFrom(network, accepted)) {
    const auto of_other = counts.find(other);
    const bool is_its = of_other == counts.end() ? is_kept_out : of_other->second.certificate == certificate;
    if (!is_its || ended_.contains(other) || !EndConnection(*accepted.find(other))) continue;
    ended_.insert(other);
    ++ended;
  }
  if (ended > 0) log::warn("{} more of its connections are ended with it", ended);
}

std::map<SocketId, StreamCounts> FloodGuard::CountBusiest(const AcceptedConnections& accepted) const {
  std::vector<std::pair<std::uint64_t, SocketId>> sent;
  for (const auto& connection : accepted) {
    const std::uint64_t octets = ReadSince(last_, connection);
    if (octets >= kMuch) sent.emplace_back(octets, connection.first);
  }
  const std::set<SocketId> busiest = OfLargest(std::move(sent), kBusiest);
  return busiest.empty() ? std::map<SocketId, StreamCounts>() : CountStreams(busiest, accepted);
}

}  // namespace hallmark::service
