#pragma once

#include <grpcpp/grpcpp.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/operators/approvals.h"
#include "signerd/operators/operators.h"
#include "signerd/service/counted_acts.h"
#include "signerd/service/request_json.h"
#include "signerd/service/transport.h"

namespace hallmark::service {

using Role = store::Role;

// The thread that an act is carried out on, by what it may wait for.
enum class Lane {
  kStore,     // the disk alone
  kRotation,  // a step of a domain's rotation to end; seconds
  kToken,     // a token or name servers; minutes
};
constexpr std::size_t kLanes = 3;

// What a method of the Admin API asks of its caller, and where it is carried out.
struct Act {
  const char* method;  // "CreateDomain"
  Role least;
  Lane lane = Lane::kStore;
};

// The operator that a call is carried out for.
struct Caller {
  std::string name;
  Role role = Role::kAuditor;
  Act act{};
  std::string request;         // serialized, for an approval
  std::uint64_t approval = 0;  // the approval that it is carried out under; 0: none
  Bytes certificate{};         // SHA-256 of the client certificate
  ShownRequest shown{};        // the request as its records have it
  // What the act changes, a sentence each, as far as that is known: for its records. Only the gate adds to them.
  mutable std::vector<std::string> changes{};
};

// The one way into the Admin API: says who calls, whether they may, has the work done, and puts each act on the ledger.
// Acts of a lane are carried out whole and one after the other on its thread, so that a token never holds up who stops
// somebody, or who retires or revokes a key. Any thread.
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
    // The same for how an act ended: it does not wait for a second sink, and is not told twice because that one is
    // late.
    std::function<Status(const hallmark::ledger::v1::Record&)> note;
  };
  explicit AdminGate(Parts parts) : parts_(std::move(parts)), timer_(ThreadOf(Lane::kStore)) {}
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

  // For `work`, before it changes something that its request alone does not say, or not within what a record has of it:
  // what that will be, a sentence each. All of it is durable on return; it must not be done when this is an error.
  Status Announce(const Caller& caller, const std::vector<std::string>& changes);

  // For `work` whose effect needs a second person. Ok when it is carried out under an approval; otherwise the request
  // is kept until another officer approves it, and this is kApprovalRequired. `danger` says what it would do, for a
  // person; where it says something else when the request is carried out than when it was made, that is kStateConflict.
  Status RequireApproval(const Caller& caller, const std::string& danger);
  // Says how an approved request of `method`, which is a `form`, is carried out, and on which thread. Before the first
  // call.
  void SetReplay(const std::string& method, const google::protobuf::Message& form, Replay replay, Lane lane) {
    replays_[method] = {&form, std::move(replay), lane};
  }

  // Carries out a request in the name of its requester: the work of RunApproval.
  Result<operators::ApprovalRow> Approve(const Caller& officer, std::int64_t id);

 private:
  struct Replayed {
    const google::protobuf::Message* form;
    Replay replay;
    Lane lane;
  };
  boost::asio::thread_pool& ThreadOf(Lane lane) { return threads_[static_cast<std::size_t>(lane)]; }
  Result<operators::Peer> PeerOf(const grpc::ServerContextBase& context);
  // What is to run on a thread of the gate: all of a call whose caller is known. It ends the call.
  std::function<void()> JobOf(Reactor* reactor, Context* context, Caller caller, Work work);
  Lane LaneOfApproved(std::int64_t id);
  Status CarryOut(const operators::ApprovalRow& approval);
  Status Begin(const Caller& caller);
  Status RunLedgered(const Caller& caller, const Work& work);
  void JournalOutcome(const Caller& caller, const Status& done);
  // That it has begun.
  Status JournalAct(const hallmark::ledger::v1::AdminAct& act);
  // How it ended.
  Status NoteAct(const hallmark::ledger::v1::AdminAct& act);
  void Count(const Caller& caller, std::string_view outcome, std::uint64_t approval);
  void ScheduleTick();

  const Parts parts_;
  std::map<std::string, Replayed> replays_;
  CountedActs counted_;
  std::array<boost::asio::thread_pool, kLanes> threads_{boost::asio::thread_pool(1), boost::asio::thread_pool(1),
                                                        boost::asio::thread_pool(1)};
  boost::asio::steady_timer timer_;  // of counted_; the thread of kStore only
};

// The metadata "hallmark-session"; empty when there is none.
std::string SessionToken(const grpc::ServerContextBase& context);

}  // namespace hallmark::service
