#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "firmware/health/report.h"

namespace hallmark::health {

// signerd's word on whether it signs: of the report that it writes. kOk: a test signature was good, none failed, and
// every token with a key has had one. kFailed with what is wrong. kWarning with the test that did not come to its end:
// not told yet. kUnknown: no key to test with yet. Any thread.
struct Verdict {
  Level level;
  std::string message;
};
Verdict JudgeSigning(const Result<Report>& report, std::chrono::sys_seconds now);

// What is said on the console: a line when signing begins, and one whenever the worst of the box changes; nothing of
// what is wrong while the box still starts. One thread.
class Console {
 public:
  // `report`: what signerd wrote. `uptime`: of the box. Lines without their ends, mostly none.
  std::vector<std::string> Look(const Result<Report>& report, std::chrono::sys_seconds now,
                                std::chrono::seconds uptime);

 private:
  int looks_ = 0;
  bool signs_ = false;  // it was said
  std::string said_;    // last, of what is wrong
};

}  // namespace hallmark::health
