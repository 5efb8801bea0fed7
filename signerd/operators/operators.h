#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/operators/sessions.h"
#include "signerd/store/store.h"

namespace hallmark::operators {

using store::OperatorRow;
using store::OperatorState;
using store::Role;

// Who calls, as far as TLS knows.
struct Peer {
  std::vector<std::string> identities;  // subject alternative names: "dns:NAME" in lower case, "uri:URI"
  Bytes certificate;                    // its SHA-256
};

struct Enrollment {
  std::string name;
  Role role;
  Bytes secret;  // of TOTP
};

struct LoggedIn {
  Session session;
  OperatorRow row;
};

// Operators and their two factors: a certificate whose identity the store knows, and a TOTP code, which give a session.
// What is asked of every call is answered from memory, by any thread and without a database, so that refusing by the
// thousand costs nothing. What changes something is persisted before it is answered, and called by the admin thread
// only.
class Operators {
 public:
  struct Options {
    // Identities as NormalIdentity() gives them. May enrol themselves as officers, each once, until two officers ever
    // have.
    std::set<std::string> first_officers;
    std::chrono::seconds session = std::chrono::minutes(15);
  };
  static Result<std::unique_ptr<Operators>> Open(store::Store& store, const Clock& clock, Options options);

  // Any thread, from memory.
  // The operator that the certificate names; kCallerUnknown for none, for two, and for one who was removed.
  Result<OperatorRow> Identify(const Peer& peer) const;
  // The operator with a session; kCallerUnknown or kLoginRequired.
  Result<OperatorRow> Authorize(const Peer& peer, const std::string& token) const;
  // Whether the session of one who was authorized still is: kLoginRequired.
  Status HasSession(const std::string& name, const Bytes& certificate, const std::string& token) const;
  std::optional<Sessions::Holder> FindSession(const Bytes& certificate, const std::string& token) const;
  // Whether `code` would be compared: kInvalidArgument, kCallerUnknown, kLoginRefused (not enrolled), kLockedOut.
  Status MayLogin(const Peer& peer, const std::string& code) const;
  // Whether there is anybody to enrol: kCallerUnknown, kStateConflict.
  Status MayEnroll(const Peer& peer) const;
  // By name; kNotFound also for one who was removed. `locked_until` is set while no code is taken, here and below.
  Result<OperatorRow> Get(const std::string& name) const;
  // In order of name, those who were removed too.
  std::vector<OperatorRow> List() const;
  void Logout(const std::string& token) { sessions_.End(token); }

  // The admin thread only.
  // `name`: for a first officer; empty is made from the identity. The secret is not kept before FinishEnrollment.
  Result<Enrollment> BeginEnrollment(const Peer& peer, const std::string& name);
  Result<LoggedIn> FinishEnrollment(const Peer& peer, const std::string& code);
  // kLoginRefused, kLockedOut. A code is taken once, and none that is older than one that was.
  Result<LoggedIn> Login(const Peer& peer, const std::string& code);
  // Whether Create would be refused: kInvalidArgument, kAlreadyExists.
  // The identity is as NormalIdentity() gives it.
  Status CanCreate(const OperatorRow& row) const;
  Result<OperatorRow> Create(const std::string& name, const std::string& identity, Role role);
  Result<OperatorRow> Remove(const std::string& name);
  Result<OperatorRow> Reset(const std::string& name);

 private:
  // An enrolment between its two calls: of the row as it will be, by the certificate.
  struct Pending {
    OperatorRow row;
    std::chrono::sys_seconds expires;
  };

  Operators(store::Store& store, const Clock& clock, Options options)
      : store_(store), clock_(clock), options_(std::move(options)) {}
  const OperatorRow* FindLocked(const Peer& peer) const;
  // The identity that may enrol as a first officer; empty when there is none.
  std::string FirstOfficerLocked(const Peer& peer) const;
  Result<OperatorRow> RowToEnroll(const Peer& peer, const std::string& name) const;
  Status Save(const OperatorRow& row);
  Result<LoggedIn> OpenSession(const OperatorRow& row, const Peer& peer);

  store::Store& store_;
  const Clock& clock_;
  const Options options_;
  Sessions sessions_;
  mutable std::mutex mutex_;                 // guards rows_
  std::map<std::string, OperatorRow> rows_;  // by name; as the store has them
  std::map<Bytes, Pending> pending_;         // by certificate; the admin thread only
};

}  // namespace hallmark::operators
