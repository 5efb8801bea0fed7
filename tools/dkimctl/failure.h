#pragma once

#include <grpcpp/support/status.h>

#include <boost/system/result.hpp>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark::ctl {

// How dkimctl ends. Stable: scripts depend on these numbers.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,       // refused or failed
  kUsage = 2,        // wrong command line
  kUnavailable = 3,  // signerd cannot be reached, or says that it is UNAVAILABLE
  kNotVerified = 4,  // verify: a signature did not verify, or there was none; explain: it would be refused
  kWaits = 5,        // the request waits for the approval of a second person
  kFindings = 6,     // posture: something is wrong with what is published
};

// Why a command did not do what was asked: one line that says what went wrong and what to do.
struct Failure {
  // Not an aggregate: an exit code alone must not pass for a failure.
  Failure() = default;
  Failure(ExitCode exit_code, std::string sentence) : code(exit_code), message(std::move(sentence)) {}

  ExitCode code = ExitCode::kFailed;
  std::string message;
  // The stable reason of the answer's ErrorInfo ("DOMAIN_NOT_ALLOWED"); empty where signerd did not answer.
  std::string reason;
  bool unknown_call = false;  // signerd is of an earlier version, and has no such call
};

[[noreturn]] void throw_exception_from_error(const Failure& failure, const boost::source_location& location);

template <class T>
using Answer = boost::system::result<T, Failure>;
// What a command gives when it has run: how dkimctl is to end.
using Outcome = Answer<ExitCode>;

Failure Failed(std::string message);
Failure WrongUsage(std::string message);
Failure FromError(const Error& error);

// Decodes what signerd at `server` answered: "REASON: sentence" of its ErrorInfo, or why it cannot be reached.
// `status` is not OK. Any thread.
Failure FromStatus(const grpc::Status& status, std::string_view server);

// As FromStatus for a google.rpc.Status in an answer; `code` is a gRPC code.
Failure FromDetails(int code, const std::string& message, const std::string& serialized_status);

// One line: what a terminal acts on (ControlAt), line ends too, becomes a blank.
std::string OneLine(std::string_view text);

}  // namespace hallmark::ctl
