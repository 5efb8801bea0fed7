#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "signerd/service/accepted.h"
#include "signerd/service/kept_out.h"
#include "signerd/service/slow_reads.h"
#include "signerd/service/stream_counts.h"

namespace hallmark::service {

// Ends connections whose calls are given up faster than gRPC dismisses them (rapid reset, CVE-2023-44487), and keeps
// whoever does that out for a while. gRPC 1.51 handles a connection's events in one thread for as long as there are
// any, and what another connection has in that thread's queue waits: beside such a flood an operator could not connect
// for twenty seconds.
//
// And connections that cost a processor for nothing (SlowReads): operators could not connect beside ten of them.
//
// Ten times a second, if the process is not idle, it looks at the connections that most was read from. One with more
// calls under way than it may have, given up or not, is ended, and whatever SlowReads finds. Its network is kept out
// unless somebody with another certificate is connected from there: then it is a proxy's, or an address that many
// share, and for as long whoever comes from there with the flood's certificate is ended as soon as he is seen; each
// time nobody is let in from there for a second, or he would be back at once.
class FloodGuard {
 public:
  // `port`: of the listener, on whatever address. `most_calls` under way: beyond what a client that keeps to its limit
  // comes to. `kept_out` lives longer.
  FloodGuard(std::uint16_t port, std::uint64_t most_calls, KeptOut& kept_out);

 private:
  void Watch(const std::stop_token& stop);
  void Look();
  bool IsBusy();
  // Of the connections that most was read from since the last look.
  std::map<SocketId, StreamCounts> CountBusiest(const AcceptedConnections& accepted) const;
  // `with_others`: of the same peer, where a few keep the rest from their turn.
  void End(SocketId id, const std::string& why, bool with_others, const AcceptedConnections& accepted);
  // Those that come with a certificate that is kept out.
  void EndKeptOut(const AcceptedConnections& accepted);
  // Those with the certificate, and where the network is kept out those that have shown none yet.
  void EndOthers(const std::string& network, const std::string& certificate,
                 const std::map<SocketId, StreamCounts>& counts, const AcceptedConnections& accepted);

  const std::uint16_t port_;
  const std::uint64_t most_calls_;
  KeptOut& kept_out_;
  // Of the thread.
  std::chrono::nanoseconds spent_{};  // of all processors, at the last look
  AcceptedConnections last_;          // of the last look that found the process busy
  SlowReads slow_reads_;
  KeptOut certificates_;                                                 // of floods from networks that others share
  std::map<std::string, std::chrono::steady_clock::time_point> shared_;  // those, and when the last flood was
  std::set<SocketId> ended_;                                             // and still not closed
  std::jthread thread_;                                                  // last: it uses the others
};

}  // namespace hallmark::service
