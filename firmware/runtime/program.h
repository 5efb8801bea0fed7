#pragma once

#include <signal.h>

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark {

// Where another program of Hallmark's is: beside this one's executable, as in a build tree, or where the packages put
// it, in ../sbin or ../libexec/hallmark. The last is the answer where there is none.
std::filesystem::path CompanionProgram(std::string_view name);

// This process leaves no core and cannot be traced: mail, TLS keys or a PIN are in its memory. Call before
// anything of it is read, and do not go on where it fails: kInternal with a sentence.
[[nodiscard]] Status LeaveNoCore();

// Nor does it, or what it starts, gain privileges by a set-user-ID program. The same.
[[nodiscard]] Status GainNoPrivileges();

// As many open files as the system lets this process have; how many those are.
std::size_t RaiseFileLimit();

// The signals that end a program, SIGTERM and SIGINT: blocked in this thread and in those that it starts from here on,
// so that only who waits for them gets them. SIGPIPE is ignored: a peer that is gone is an error of write(2). So is
// SIGHUP, which asks daemons to read their files again: those that may change are read when they change.
sigset_t BlockEndSignals();

}  // namespace hallmark
