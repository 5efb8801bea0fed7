#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/service/transport.h"

namespace hallmark::service {

// What an operator may do. Each role may do all that those before it may.
enum class Role : std::uint8_t {
  kAuditor,   // reads everything, changes nothing
  kOperator,  // day to day: domains, keys, relays; suspends a partner
  kOfficer,   // what gives rights away; approves what needs a second person
};

// What a method of the Admin API asks of its caller.
struct Act {
  const char* method;  // "CreateDomain"
  Role least;
};

// The operator that a call is carried out for.
struct Caller {
  std::string name;
  Role role = Role::kAuditor;
  Act act{};
  std::string request;         // serialized, for an approval
  std::string request_json;    // for the ledger, bounded
  std::uint64_t approval = 0;  // the approval that it is carried out under; 0: none
};

// The one way into the Admin API: says who calls, whether they may, has the work done on the admin thread (one, so that
// calls are carried out whole, one after the other), and puts each act on the ledger. Any thread.
class AdminGate {
 public:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  using Work = std::function<Status(const Caller&)>;
  // Carries out a request that was approved: parses it and does the same as its method.
  using Replay = std::function<Status(const Caller&, const std::string& request)>;

  struct Parts {
    std::set<std::string> operators;  // identities that may call
    Transport& transport;
    // Puts an act on the ledger; it is durable on return. An act that cannot be ledgered is not carried out.
    std::function<Status(const hallmark::ledger::v1::Record&)> journal;
  };
  explicit AdminGate(Parts parts) : parts_(std::move(parts)), thread_(1) {}
  ~AdminGate() { thread_.join(); }

  // Runs `work` on the admin thread when the caller may `act`; its Status ends the call. `request` lives as long as the
  // call does.
  Reactor* Run(Context* context, const Act& act, const google::protobuf::Message& request, Work work);

  // For `work` whose effect needs a second person. Ok when it is carried out under an approval; otherwise the request
  // is kept until another officer approves it, and this is kApprovalRequired. `danger` says what it would do, for a
  // person.
  Status RequireApproval(const Caller& caller, const std::string& danger);
  // Says how an approved request of `method` is carried out. Before the first call.
  void SetReplay(const std::string& method, Replay replay) { replays_[method] = std::move(replay); }

 private:
  Status Carry(const Caller& caller, const Work& work);
  Status Journal(const Caller& caller, const std::string& outcome) const;
  const Parts parts_;
  std::map<std::string, Replay> replays_;
  boost::asio::thread_pool thread_;
};

}  // namespace hallmark::service
