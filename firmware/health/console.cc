#include "firmware/health/console.h"

namespace hallmark::health {
namespace {

// So often it is looked before signing began until it is said why it does not: a start of signerd and its tokens.
constexpr int kPatience = 30;

// What is worst, the first by name of several; empty where all is well.
std::string Trouble(const Result<Report>& report, std::chrono::sys_seconds now) {
  if (!report) return "failed: signerd does not run";
  if (IsStale(*report, now)) return "failed: signerd says nothing any more";
  const Level worst = Worst(*report);
  if (worst == kOk) {
    const Verdict signing = JudgeSigning(report, now);
    return signing.level == kWarning ? "warning: " + signing.message : "";
  }
  for (const Reading& reading : report->readings()) {
    if (reading.level() != worst) continue;
    // Without what is measured: a line for each degree would fill the console.
    const std::string& message = reading.message();
    const bool still = reading.name().starts_with(kSigning) || message.find_first_of("0123456789") == std::string::npos;
    return (worst == kFailed ? "failed: " : "warning: ") + reading.name() + (still ? ": " + message : "");
  }
  return "";
}

}  // namespace

Verdict JudgeSigning(const Result<Report>& report, std::chrono::sys_seconds now) {
  if (!report) return {kFailed, "signerd does not run, or has not begun: " + report.error().message};
  if (IsStale(*report, now)) return {kFailed, "signerd says nothing any more"};
  Verdict verdict{kUnknown, "there is no key in a token to test with"};
  for (const Reading& reading : report->readings()) {
    if (!reading.name().starts_with(kSigning)) continue;
    const std::string said = reading.name() + ": " + reading.message();
    if (reading.level() == kFailed) return {kFailed, said};
    if (reading.level() == kUnknown && reading.message() != kNoKey) {
      verdict = {kWarning, "not told yet: " + said};
    } else if (reading.level() != kUnknown && verdict.level != kWarning) {
      verdict = {kOk, said};
    }
  }
  return verdict;
}

std::vector<std::string> Console::Look(const Result<Report>& report, std::chrono::sys_seconds now,
                                       std::chrono::seconds uptime) {
  std::vector<std::string> lines;
  const Verdict signing = JudgeSigning(report, now);
  if (!signs_ && (signing.level == kOk || signing.level == kUnknown)) {
    signs_ = true;
    lines.push_back("hallmark: signing; up for " + std::to_string(uptime.count()) + " s" +
                    (signing.level == kUnknown ? "; no key to test with yet" : ""));
  }
  const std::string trouble = Trouble(report, now);
  const bool starting = !signs_ && ++looks_ <= kPatience;
  if (trouble == said_ || starting) return lines;
  lines.push_back(trouble.empty() ? "hallmark: all is well" : "hallmark: " + trouble);
  said_ = trouble;
  return lines;
}

}  // namespace hallmark::health
