#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/service/transport.h"

namespace hallmark::service {

// What a method does: the least role that may call it. Every operator of the configuration has all of them for now.
enum class Role : std::uint8_t {
  kAuditor,   // reads, changes nothing
  kOperator,  // day to day: domains, keys, relays; suspends a partner
  kOfficer,   // gives rights away
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
  std::string request_json;  // for the ledger, bounded
};

// The one way into the Admin API: says who calls, whether they may, has the work done on the admin thread (one, so that
// calls are carried out whole, one after the other), and puts each act on the ledger. Any thread.
class AdminGate {
 public:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  using Work = std::function<Status(const Caller&)>;

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

  // The checks of Run for a method that streams its answer and so runs on a thread of its own: the caller, when it may
  // `act`. What changes something is put on the ledger as begun, which waits for the disk; it must not be done when
  // this is an error. The method's end is told by Done.
  Result<Caller> Admit(const grpc::ServerContextBase& context, const Act& act,
                       const google::protobuf::Message& request);
  // Puts the outcome of what was admitted on the ledger; does not wait for it. Once, before the gate ends.
  void Done(const Caller& caller, Status done);

  // For `work` that gives rights away or forgives: puts `danger`, a sentence for a person, on the ledger before it is
  // done. One operator is enough for it (docs/security.md says what is missing). kLedgerUnavailable: it must not be
  // done.
  Status RecordDanger(const Caller& caller, const std::string& danger);

 private:
  Result<Caller> Identify(const grpc::ServerContextBase& context, const Act& act,
                          const google::protobuf::Message& request) const;
  Status Carry(const Caller& caller, const Work& work);
  Status Journal(const Caller& caller, const std::string& outcome) const;
  const Parts parts_;
  boost::asio::thread_pool thread_;
};

}  // namespace hallmark::service
