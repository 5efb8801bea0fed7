#include "rules.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <sstream>
#include <string_view>
#include <vector>

#include "mapped.h"
#include "names.h"

namespace faulty {
namespace {

using Clock = std::chrono::system_clock;  // that of the file's age

constexpr std::size_t kMostFunctions = 40;
constexpr unsigned long kNoEnd = ~0ul;

// What happened since the control file was written, in every process that uses it: a file of its own, mapped.
// A test reads the first number: how often a rule was obeyed.
struct Since {
  std::atomic<unsigned long> obeyed;
  std::array<std::atomic<unsigned long>, kMostFunctions> calls;
  std::atomic<unsigned long> signatures;
};
static_assert(std::atomic<unsigned long>::is_always_lock_free);

struct Rule {
  std::string function;
  bool since_written = false;  // which calls are counted: those, or all of this process
  unsigned long first = 1, last = kNoEnd, each = 1;
  Action action;
  double from = 0, until = -1;                // seconds since the file was written; -1: without end
  std::optional<std::size_t> until_function;  // that none of it was called yet
  unsigned long after = 0;                    // so many signatures
  std::optional<unsigned long> of;            // the mechanism
};

// One call as rules see it.
struct CallSeen {
  const std::string& function;
  unsigned long number, number_since;  // of this process; of all since the file was written
  std::optional<unsigned long> mechanism;
};

// The control file as it is now.
struct Rules {
  ino_t inode = 0;
  timespec written{};
  off_t size = 0;
  std::vector<Rule> list;
  Since* since = nullptr;  // never unmapped: a call that hangs may still look at it

  bool IsOf(const struct stat& file) const {
    return inode == file.st_ino && size == file.st_size && written.tv_sec == file.st_mtim.tv_sec &&
           written.tv_nsec == file.st_mtim.tv_nsec;
  }
  double Age() const {
    const auto since_epoch = std::chrono::seconds(written.tv_sec) + std::chrono::nanoseconds(written.tv_nsec);
    return std::chrono::duration<double>(Clock::now().time_since_epoch() - since_epoch).count();
  }
};

[[noreturn]] void Refuse(const std::string& line) {
  std::fprintf(stderr, "faulty_pkcs11: this rule is not understood: %s\n", line.c_str());
  std::abort();
}

std::optional<std::size_t> IndexOf(std::string_view function) {
  for (std::size_t i = 0; i < std::size(kFunctions); ++i) {
    if (function == kFunctions[i]) return i;
  }
  return std::nullopt;
}
static_assert(std::size(kFunctions) <= kMostFunctions);

std::optional<unsigned long> ParseNumber(const std::string& text) {
  if (text.empty()) return std::nullopt;
  for (const auto& [name, value] : kValues) {
    if (text == name) return value;
  }
  char* end = nullptr;
  const unsigned long number = std::strtoul(text.c_str(), &end, 0);
  return *end == '\0' ? std::optional(number) : std::nullopt;
}

// "*", "3", "3+", "3-7" or "/10", perhaps with "@" before it.
bool ParseCalls(std::string text, Rule& rule) {
  rule.since_written = text.starts_with('@');
  if (rule.since_written) text.erase(0, 1);
  if (text == "*") return true;
  if (text.starts_with('/')) {
    const auto each = ParseNumber(text.substr(1));
    rule.each = each.value_or(0);
    return rule.each != 0;
  }
  const auto dash = text.find('-');
  const bool open = text.ends_with('+');
  const auto first = ParseNumber(text.substr(0, open ? text.size() - 1 : dash));
  const auto last = dash == std::string::npos ? first : ParseNumber(text.substr(dash + 1));
  if (!first || !last) return false;
  rule.first = *first;
  rule.last = open ? kNoEnd : *last;
  return true;
}

struct Verb {
  const char* name;
  Action::Kind kind;
  bool has_argument;
};
constexpr Verb kVerbs[] = {
    {"return", Action::Kind::kReturn, true},       {"hang", Action::Kind::kHang, false},
    {"crash", Action::Kind::kCrash, false},        {"exit", Action::Kind::kExit, false},
    {"delay", Action::Kind::kDelay, true},         {"flags", Action::Kind::kFlags, true},
    {"serial", Action::Kind::kSerial, true},       {"corrupt", Action::Kind::kCorrupt, false},
    {"truncate", Action::Kind::kTruncate, true},   {"previous", Action::Kind::kPrevious, false},
    {"other-key", Action::Kind::kOtherKey, false}, {"length", Action::Kind::kLength, true},
    {"drop", Action::Kind::kDrop, false},          {"logout", Action::Kind::kLogout, false},
    {"absent", Action::Kind::kAbsent, false},      {"slot", Action::Kind::kSlot, true},
    {"leak", Action::Kind::kLeak, true},           {"alone", Action::Kind::kAlone, true},
};

bool IsOneOf(std::string_view function, std::initializer_list<std::string_view> functions) {
  return std::find(functions.begin(), functions.end(), function) != functions.end();
}

// Whether the action means something there: what would change nothing is a mistake in the rule.
bool Fits(Action::Kind kind, std::string_view function) {
  switch (kind) {
    case Action::Kind::kReturn:
    case Action::Kind::kHang:
    case Action::Kind::kCrash:
    case Action::Kind::kExit:
    case Action::Kind::kDelay:
    case Action::Kind::kAlone: return function != "token";
    case Action::Kind::kLeak: return !IsOneOf(function, {"token", "C_GetFunctionList"});
    case Action::Kind::kFlags:
    case Action::Kind::kSerial: return function == "C_GetTokenInfo";
    case Action::Kind::kCorrupt:
    case Action::Kind::kTruncate:
    case Action::Kind::kPrevious: return function == "C_Sign";
    case Action::Kind::kOtherKey: return function == "C_SignInit";
    case Action::Kind::kLength:
      return IsOneOf(function, {"C_Sign", "C_Decrypt", "C_FindObjects", "C_GetAttributeValue", "C_GetSlotList"});
    case Action::Kind::kDrop:
    case Action::Kind::kLogout:
      return std::find(std::begin(kSessionFunctions), std::end(kSessionFunctions), function) !=
             std::end(kSessionFunctions);
    case Action::Kind::kAbsent:
    case Action::Kind::kSlot: return function == "token";
  }
  return false;
}

// CKR_OK without a call is a fault, and so is an answer of no octets; no milliseconds and no bits are nothing.
bool MayBeZero(Action::Kind kind) {
  return kind == Action::Kind::kReturn || kind == Action::Kind::kLength || kind == Action::Kind::kSerial;
}

bool ParseAction(std::istringstream& words, Rule& rule) {
  std::string verb, argument;
  words >> verb;
  for (const Verb& known : kVerbs) {
    if (verb != known.name) continue;
    rule.action.kind = known.kind;
    if (!Fits(known.kind, rule.function)) return false;
    if (!known.has_argument) return true;
    words >> argument;
    const auto number = ParseNumber(argument);
    rule.action.number = number.value_or(0);
    return number && (*number != 0 || MayBeZero(known.kind));
  }
  return false;
}

bool HasMechanism(std::string_view function) {
  return function == "C_SignInit" || function == "C_Sign" || function == "C_GetMechanismInfo" ||
         function == "C_GenerateKeyPair" || function == "C_UnwrapKey" || function == "C_DecryptInit";
}

// "from SECONDS", "until SECONDS", "until FUNCTION", "after SIGNATURES", "of MECHANISM"; any of them, in any order.
bool ParseConditions(std::istringstream& words, Rule& rule) {
  std::string word, value;
  while (words >> word) {
    if (!(words >> value)) return false;
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    const bool is_number = *end == '\0' && number >= 0;
    if (word == "from" && is_number) {
      rule.from = number;
    } else if (word == "until" && is_number) {
      rule.until = number;
    } else if (word == "until") {
      rule.until_function = IndexOf(value);
      if (!rule.until_function) return false;
    } else if (word == "after" && is_number) {
      rule.after = static_cast<unsigned long>(number);
    } else if (word == "of" && HasMechanism(rule.function)) {
      rule.of = ParseNumber(value);
      if (!rule.of) return false;
    } else {
      return false;
    }
  }
  return true;
}

std::vector<Rule> ParseRules(const std::string& text) {
  std::vector<Rule> rules;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Rule rule;
    std::string calls;
    if (!(words >> rule.function)) continue;
    const bool known = rule.function == "token" || IndexOf(rule.function).has_value();
    if (!known || !(words >> calls) || !ParseCalls(calls, rule) || !ParseAction(words, rule) ||
        !ParseConditions(words, rule)) {
      Refuse(line);
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::shared_ptr<const Rules> Load(const char* path) {
  auto rules = std::make_shared<Rules>();
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return nullptr;
  struct stat facts {};
  std::string text;
  std::array<char, 4096> part{};
  ::fstat(file, &facts);
  for (ssize_t got = 0; (got = ::read(file, part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  ::close(file);
  rules->inode = facts.st_ino;
  rules->written = facts.st_mtim;
  rules->size = facts.st_size;
  rules->list = ParseRules(text);
  rules->since = MapFile<Since>(std::string(path) + ".since-" + std::to_string(facts.st_ino) + "-" +
                                std::to_string(facts.st_mtim.tv_sec) + "." + std::to_string(facts.st_mtim.tv_nsec));
  return rules;
}

// Null without a control file.
std::shared_ptr<const Rules> Present() {
  // Never destroyed: a thread may still be in a call when the process ends.
  static std::mutex& mutex = *new std::mutex;  // guards present
  static auto& present = *new std::shared_ptr<const Rules>;
  const char* path = std::getenv("FAULTY_PKCS11_CONTROL");
  struct stat facts {};
  if (path == nullptr || ::stat(path, &facts) != 0) return nullptr;
  const std::lock_guard lock(mutex);
  if (present == nullptr || !present->IsOf(facts)) present = Load(path);
  return present;
}

bool Holds(const Rules& rules, const Rule& rule, const CallSeen& call) {
  const unsigned long number = rule.since_written ? call.number_since : call.number;
  if (number < rule.first || number > rule.last || number % rule.each != 0) return false;
  if (rule.of && rule.of != call.mechanism) return false;
  if (rules.since->signatures < rule.after) return false;
  if (rule.until_function && rules.since->calls[*rule.until_function] != 0) return false;
  if (rule.from == 0 && rule.until < 0) return true;
  const double age = rules.Age();
  return age >= rule.from && (rule.until < 0 || age < rule.until);
}

std::optional<Action> FirstThatHolds(const Rules& rules, const CallSeen& call) {
  for (const Rule& rule : rules.list) {
    if (rule.function != call.function || !Holds(rules, rule, call)) continue;
    Action action = rule.action;
    action.obeyed = &rules.since->obeyed;
    return action;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Action> ActionFor(const std::string& function, unsigned long call,
                                std::optional<unsigned long> mechanism) {
  const auto rules = Present();
  if (rules == nullptr) return std::nullopt;
  const auto index = IndexOf(function);
  if (!index) std::abort();
  return FirstThatHolds(*rules, {function, call, ++rules->since->calls[*index], mechanism});
}

std::optional<Action> ActionForToken() {
  const auto rules = Present();
  return rules == nullptr ? std::nullopt : FirstThatHolds(*rules, {"token", 1, 1, std::nullopt});
}

void CountSignature() {
  if (const auto rules = Present()) ++rules->since->signatures;
}

void Log(const std::string& function) {
  const char* path = std::getenv("FAULTY_PKCS11_CONTROL");
  if (path == nullptr) return;
  const int file = ::open((std::string(path) + ".log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return;
  const std::string line = function + "\n";
  if (::write(file, line.data(), line.size()) < 0) std::abort();
  ::close(file);
}

}  // namespace faulty
