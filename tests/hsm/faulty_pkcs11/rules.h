#pragma once

#include <atomic>
#include <optional>
#include <string>

namespace faulty {

struct Action {
  enum class Kind {
    kReturn,
    kHang,
    kCrash,
    kExit,
    kDelay,
    kAlone,
    kFlags,
    kSerial,
    kCorrupt,
    kTruncate,
    kPrevious,
    kOtherKey,
    kLength,
    kDrop,
    kLogout,
    kAbsent,
    kSlot,
    kLeak
  } kind = Kind::kReturn;
  unsigned long number = 0;  // the verb's argument: a CK_RV, milliseconds, bits, octets, ...
  std::atomic<unsigned long>* obeyed = nullptr;

  // It has had its effect, or is about to and nothing can come between: a rule that changes nothing was not obeyed.
  void Done() const { ++*obeyed; }
};

// Counts this call of `function`, the `call`th of the process, and gives what the control file says about it.
// `mechanism`: the call's CK_MECHANISM_TYPE, where it has one. Any thread.
std::optional<Action> ActionFor(const std::string& function, unsigned long call,
                                std::optional<unsigned long> mechanism = std::nullopt);

// What the control file says about the token as a whole, the function "token". Any thread.
std::optional<Action> ActionForToken();

// A signature was given: rules with `after` count them. Any thread.
void CountSignature();

// Adds a line to the log beside the control file. Any thread.
void Log(const std::string& function);

}  // namespace faulty
