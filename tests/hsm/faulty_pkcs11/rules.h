#pragma once

#include <atomic>
#include <optional>
#include <string>

namespace faulty {

struct Action {
  enum class Kind { kReturn, kHang, kCrash, kDelay, kFlags, kCorrupt } kind = Kind::kReturn;
  unsigned long number = 0;  // the CK_RV of kReturn, the milliseconds of kDelay, the bits of kFlags
};

// What the control file says about this call of `function`. Any thread.
std::optional<Action> ActionFor(const std::string& function, unsigned long call);

// Adds a line to the log beside the control file. Any thread.
void Log(const std::string& function);

}  // namespace faulty
