#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/dkimload/connections.h"
#include "tools/dkimload/requests.h"

namespace hallmark::load {

using Clock = std::chrono::steady_clock;

class Kept;

// One message on its way.
struct Ticket {
  std::size_t number = 0;      // counts up; chooses the message and the connection
  Clock::time_point intended;  // when it was to be sent, which may be before it was
};

// How a message ended.
struct Ending {
  int code = 0;        // of gRPC
  std::string reason;  // of the ErrorInfo, or why an answer with code OK is no good; empty: none
  bool well() const { return code == 0 && reason.empty(); }
};

// What the completion queue holds as tags: whatever has happened is told to its tag, on the thread that drives the
// queue.
class Event {
 public:
  virtual void Happened(bool ok) = 0;

 protected:
  ~Event() = default;
};

// Sends messages over the connections, in turn.
class Calls {
 public:
  // Called once for each message that was started, on the thread that drives the queue.
  using Done = std::function<void(const Ticket&, const Ending&)>;

  virtual ~Calls() = default;
  // Sends one message; does not wait. One thread at a time.
  virtual void Start(const Ticket& ticket) = 0;
  // Ends what is still under way: its messages end with DEADLINE_EXCEEDED. Any thread.
  virtual void GiveUp() = 0;
  // No more messages will come and all have ended: begins to leave the connections. Any thread.
  virtual void Close() = 0;
  // Whether nothing is left that would use the queue, after Close(). Any thread.
  virtual bool Closed() const = 0;
};

// What a way of calling works with. All of it outlives the calls, and the queue is driven until they are Closed().
struct CallSetup {
  const Options& options;
  const Requests& requests;
  const std::vector<std::unique_ptr<Stub>>& stubs;
  grpc::CompletionQueue& queue;
  Calls::Done done;
  Kept* kept = nullptr;  // with --keep; of unary calls only
};

// One call for each message: Sign or SignDigest.
std::unique_ptr<Calls> MakeUnaryCalls(CallSetup setup);
// One SignStream call for each connection, opened again when it has ended.
std::unique_ptr<Calls> MakeStreamCalls(CallSetup setup);

// gRPC's own names of its codes, as in their documentation.
const char* CodeName(int code);
// A SignRequest of which only options.request_id is set. Protocol buffers merge messages that follow each other, so
// this after a request that is ready gives it a request_id and leaves the large part untouched.
grpc::Slice RequestIdAlone(const std::string& id);
// How a call with this status ended.
Ending EndingOf(const grpc::Status& status);
// How a message with this answer ended, under --check: a SignResponse without a signature is a failure.
Ending CheckAnswer(const void* data, std::size_t size);
// The octets of an answer, one after the other.
grpc::Slice Flat(const grpc::ByteBuffer& buffer);

}  // namespace hallmark::load
