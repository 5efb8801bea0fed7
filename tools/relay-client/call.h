#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "tools/relay-client/chunk_writer.h"
#include "tools/relay-client/endpoints.h"
#include "tools/relay-client/request.h"

namespace hallmark::relay {

class Call;

// The calls of one client; outlives them.
struct Calls {
  std::mutex mutex;  // guards what follows, and which context and alarm each of the calls has
  std::unordered_set<Call*> under_way;
  bool cancelled = false;

  // Ends those under way and those to come: kUnavailable, CANCELLED. Any thread.
  void Cancel();
};

// One message being signed: asks the next server that is ready, and another one, or the same after a pause, where the
// answer is UNAVAILABLE; another one too, where there is no answer in half of the time, and one more where the refusal
// may be the server's own trouble; always with the same request_id, so that each server signs it once: what one of them
// has signed without being heard another one signs again. When no server is ready, or none but the one that refused, it
// waits for one, but not for the whole of its time. Owns itself until `done` has returned; never blocks, and only one
// thread is in it at a time.
class Call {
 public:
  using Done = std::function<void(Outcome)>;
  // `endpoints` outlives the call. `done` is called on a thread of gRPC, never from within Start.
  static void Start(Endpoints& endpoints, Calls& calls, std::chrono::milliseconds timeout,
                    MessageReader::Content content, MessageOptions options, Done done);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  friend struct Calls;
  using Clock = std::chrono::steady_clock;
  Call(Endpoints& endpoints, Calls& calls, std::chrono::milliseconds timeout, Done done);
  void Continue();
  void Send(std::size_t index);
  void Take(const grpc::Status& status);
  void TryAnother();
  void WaitForServer();
  bool IsPatient();
  void Poll();
  void Pause(std::chrono::milliseconds pause);
  bool IsCancelled();
  void Fail(Failure failure);
  void FailAtLast();
  void End(Outcome outcome);
  std::chrono::milliseconds Remaining() const;

  Endpoints& endpoints_;
  Calls& calls_;
  const Clock::time_point deadline_;
  Done done_;
  Request request_;
  std::unique_ptr<Call> self_;

  // Of the attempt under way.
  std::shared_ptr<EndpointSet> set_;
  std::size_t index_ = 0;
  bool has_all_time_ = false;  // it is not given up before the message is
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<ChunkWriter> writer_;
  signing::v1::SignResponse response_;
  std::unique_ptr<grpc::Alarm> alarm_;  // one for each pause: its callback must not be replaced from within

  std::vector<bool> tried_;                               // in this round, by index
  std::optional<std::chrono::milliseconds> round_pause_;  // the shortest that a server of this round asked for
  std::optional<Failure> last_failure_;                   // but for the next one
  std::optional<Failure> one_servers_;                    // a refusal about which one other server is asked
  std::optional<Clock::time_point> alone_since_;          // since when no server is ready that was not asked
  bool last_chance_ = false;
  std::chrono::milliseconds poll_{5};
};

}  // namespace hallmark::relay
