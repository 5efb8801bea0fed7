#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/operators/approvals.h"
#include "signerd/operators/operators.h"
#include "signerd/service/counted_acts.h"
#include "signerd/service/transport.h"

namespace hallmark::service {

using Role = store::Role;

// What a method of the Admin API asks of its caller, and where it is carried out.
struct Act {
  const char* method;  // "CreateDomain"
  Role least;
  bool on_keys = false;
};
// Act::on_keys of what may wait for a token, for name servers, or for a step of a rotation to end.
constexpr bool kOnKeys = true;

// The operator that a call is carried out for.
struct Caller {
  std::string name;
  Role role = Role::kAuditor;
  Act act{};
  std::string request;         // serialized, for an approval
  std::uint64_t approval = 0;  // the approval that it is carried out under; 0: none
  Bytes certificate{};         // SHA-256 of the client certificate
  std::string shown{};         // the request as JSON without its secrets
};

// The one way into the Admin API: says who calls, whether they may, has the work done, and puts each act on the ledger.
// Acts on keys, which may wait for minutes, are carried out whole and one after the other on the keys' admin thread;
// all others on the admin thread, so that a token never holds up who stops somebody. Any thread.
class AdminGate {
 public:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  using Work = std::function<Status(const Caller&)>;
  // Carries out a request that was approved: parses it and does the same as its method.
  using Replay = std::function<Status(const Caller&, const std::string& request)>;
  // Whether a call without a session has a chance; from memory, on gRPC's thread.
  using Check = std::function<Status(const operators::Peer&)>;

  struct Parts {
    Transport& transport;
    operators::Operators& operators;
    operators::Approvals& approvals;
    // Puts an act on the ledger; it is durable on return. An act that cannot be ledgered is not carried out.
    std::function<Status(const hallmark::ledger::v1::Record&)> journal;
  };
  explicit AdminGate(Parts parts) : parts_(std::move(parts)), thread_(1), key_thread_(1), timer_(thread_) {}
  // Writes what was counted.
  ~AdminGate();

  // Runs `work` on the act's thread when the caller may `act`; its Status ends the call. `request` lives as long as the
  // call does.
  Reactor* Run(Context* context, const Act& act, const google::protobuf::Message& request, Work work);
  // The same for the approval `id`, on the thread of what it approves.
  Reactor* RunApproval(Context* context, const Act& act, const google::protobuf::Message& request, std::int64_t id,
                       Work work);
  // The same for the calls that give a session, which need none. `check` is asked before the admin thread is.
  Reactor* RunWithoutSession(Context* context, const Act& act, const google::protobuf::Message& request,
                             const Check& check, std::function<Status(const operators::Peer&)> work);

  // For a method that streams its answer and so runs on a thread of its own. First who calls, from memory: does not
  // wait, so that whoever may not call takes no such thread. A refusal is counted.
  Result<Caller> Identify(const grpc::ServerContextBase& context, const Act& act,
                          const google::protobuf::Message& request);
  // Then, on that thread, whether the caller may still do it. A refusal is on the ledger already. What changes
  // something is put there as begun, which waits for the disk; it must not be done when this is an error. The method's
  // end is told by Done.
  Status Admit(const grpc::ServerContextBase& context, const Caller& caller);
  // Whether certificate and session still let the caller in; from memory. For between the parts of a long answer.
  Status CheckSession(const grpc::ServerContextBase& context, const Caller& caller);
  // Puts the outcome of what was admitted on the ledger; does not wait for it. Once, before the gate ends.
  void Done(const Caller& caller, Status done);

  // For `work` whose effect needs a second person. Ok when it is carried out under an approval; otherwise the request
  // is kept until another officer approves it, and this is kApprovalRequired. `danger` says what it would do, for a
  // person; where it says something else when the request is carried out than when it was made, that is kStateConflict.
  Status RequireApproval(const Caller& caller, const std::string& danger);
  // Says how an approved request of `method` is carried out, and on which thread. Before the first call.
  void SetReplay(const std::string& method, Replay replay, bool on_keys = false) {
    replays_[method] = {std::move(replay), on_keys};
  }

  // Carries out a request in the name of its requester: the work of RunApproval.
  Result<operators::ApprovalRow> Approve(const Caller& officer, std::int64_t id);

 private:
  struct Replayed {
    Replay replay;
    bool on_keys;
  };
  Result<operators::Peer> PeerOf(const grpc::ServerContextBase& context);
  // What is to run on a thread of the gate: all of a call whose caller is known. It ends the call.
  std::function<void()> JobOf(Reactor* reactor, Caller caller, std::string token, Work work);
  bool ApprovesActOnKeys(std::int64_t id);
  Status CarryOut(const operators::ApprovalRow& approval);
  Status Begin(const Caller& caller);
  Status RunLedgered(const Caller& caller, const Work& work);
  void JournalOutcome(const Caller& caller, const Status& done);
  Status JournalAct(const hallmark::ledger::v1::AdminAct& act);
  void Count(const Caller& caller, std::string_view outcome, std::uint64_t approval);
  void ScheduleTick();

  const Parts parts_;
  std::map<std::string, Replayed> replays_;
  CountedActs counted_;
  boost::asio::thread_pool thread_;      // the admin thread
  boost::asio::thread_pool key_thread_;  // the keys' admin thread
  boost::asio::steady_timer timer_;      // of counted_; the admin thread only
};

// The metadata "hallmark-session"; empty when there is none.
std::string SessionToken(const grpc::ServerContextBase& context);

}  // namespace hallmark::service
