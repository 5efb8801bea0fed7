#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "firmware/runtime/reason.h"

namespace hallmark {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

// What went wrong: a category for programs, a sentence that says what to do for people.
struct Error {
  Reason reason;
  std::string message;
  // The CK_RV where a token caused it, 0 otherwise. For operators; never sent to a relay.
  std::uint64_t token_code = 0;
  // With kApprovalRequired: the approval that it waits for, 0 otherwise.
  std::uint64_t approval = 0;

  friend bool operator==(const Error&, const Error&) = default;
};

// Called by Result::value() on an error: a use of value() where the error was not ruled out is a defect.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& location);

// A value or an Error. Nothing on the way of a message throws.
template <class T>
using Result = boost::system::result<T, Error>;
using Status = Result<void>;

inline Error MakeError(Reason reason, std::string message) { return Error{reason, std::move(message)}; }
inline Status Ok() { return {}; }

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace hallmark
