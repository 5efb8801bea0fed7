#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark {

// What a program left behind.
struct ProgramResult {
  int exit_code = -1;  // -1: ended by a signal
  std::string out, err;
};

// Runs `program` to its end, with `environment` on top of this process's own, and standard input at /dev/null. One that
// takes longer than `limit` is killed. Fails when it cannot be started or was killed.
Result<ProgramResult> RunProgram(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                                 const std::map<std::string, std::string>& environment,
                                 std::chrono::seconds limit = std::chrono::seconds(60));

}  // namespace hallmark
