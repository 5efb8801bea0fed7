#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "firmware/runtime/result.h"

// What is kept of operators and of requests that need a second person. The enumerators' values are in the database.
namespace hallmark::store {

// What an operator may do. Each role may do all that those before it may.
enum class Role : std::uint8_t {
  kAuditor,   // reads everything, changes nothing
  kOperator,  // day to day: domains, keys, relays; suspends a partner
  kOfficer,   // what gives rights away; approves what needs a second person
};

enum class OperatorState : std::uint8_t {
  kInvited,   // has to enrol
  kEnrolled,  // has a TOTP secret
  kRemoved,   // the schema's index of identities knows this value
};

struct OperatorRow {
  std::string name, identity;
  Role role = Role::kAuditor;
  OperatorState state = OperatorState::kInvited;
  Bytes secret;                // of TOTP; empty unless kEnrolled
  std::int64_t last_step = 0;  // the time step of the newest code that was taken
  std::int64_t failures = 0;   // refused codes since
  std::chrono::sys_seconds locked_until{}, created{};
  std::chrono::sys_seconds enrolled{};  // last; 1970: never
};

enum class ApprovalState : std::uint8_t { kWaiting, kApproved, kDone, kFailed, kRejected, kExpired };

struct ApprovalRow {
  std::int64_t id = 0;
  ApprovalState state = ApprovalState::kWaiting;
  std::string requester;
  Bytes certificate;  // the requester's: SHA-256
  Role least = Role::kOfficer;
  std::string method;
  Bytes request;              // serialized; empty once it does not wait any more, and in a list
  std::string shown, danger;  // the request as JSON without secrets; what it would do
  std::chrono::sys_seconds created{}, expires{};
  std::string decider;
  std::chrono::sys_seconds decided{};
  std::string outcome;
};

}  // namespace hallmark::store
