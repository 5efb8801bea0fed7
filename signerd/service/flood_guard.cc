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

std::chrono::nanoseconds Spent() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// Whether all who are connected from the network show the same certificate.
bool IsOnePeers(const std::string& network, const AcceptedConnections& accepted) {
  std::set<std::string> peers, certificates;
  for (const auto& [peer, connection] : accepted) {
    if (connection.network == network) peers.insert(peer);
  }
  for (const auto& [peer, counts] : CountStreams(peers)) certificates.insert(counts.certificate);
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
    const auto begin = steady_clock::now();
    if (IsBusy()) Look();
    pause = std::max<std::chrono::nanoseconds>(kInterval, kShare * (steady_clock::now() - begin));
  }
}

bool FloodGuard::IsBusy() {
  const std::chrono::nanoseconds before = spent_;
  spent_ = Spent();
  return spent_ - before >= kBusy;
}

void FloodGuard::Look() {
  AcceptedConnections accepted = AcceptedOn(port_);
  std::erase_if(ended_, [&](const std::string& peer) { return !accepted.contains(peer); });
  for (const auto& [peer, count] : CountBusiest(accepted)) {
    const std::uint64_t calls = count.UnderWay();
    if (calls > most_calls_ && !ended_.contains(peer)) End(*accepted.find(peer), calls, accepted);
  }
  last_ = std::move(accepted);
}

void FloodGuard::End(const AcceptedConnections::value_type& connection, std::uint64_t calls,
                     const AcceptedConnections& accepted) {
  const auto& [peer, which] = connection;
  const bool one_peers = IsOnePeers(which.network, accepted);
  if (!EndConnection(connection, port_)) return;
  ended_.insert(peer);
  const std::string what_of_it =
      one_peers ? " is kept out for " + std::to_string(kept_out_.Add(which.network, steady_clock::now()).count()) + " s"
                : " is not kept out, as others come from there too";
  log::warn("the connection from {} is ended: {} of its calls are under way or given up and not dismissed yet; {}{}",
            peer, calls, which.network, what_of_it);
}

std::map<std::string, StreamCounts> FloodGuard::CountBusiest(const AcceptedConnections& accepted) const {
  std::vector<std::pair<std::uint64_t, std::string>> sent;
  for (const auto& [peer, connection] : accepted) {
    const auto before = last_.find(peer);
    const std::uint64_t octets = connection.read - (before == last_.end() ? 0 : before->second.read);
    if (octets >= kMuch) sent.emplace_back(octets, peer);
  }
  const auto end = sent.begin() + static_cast<std::ptrdiff_t>(std::min(sent.size(), kBusiest));
  std::partial_sort(sent.begin(), end, sent.end(), std::greater<>());
  std::set<std::string> peers;
  for (auto one = sent.begin(); one != end; ++one) peers.insert(one->second);
  return peers.empty() ? std::map<std::string, StreamCounts>() : CountStreams(peers);
}

}  // namespace hallmark::service
