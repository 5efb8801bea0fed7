#include "rules.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace faulty {
namespace {

bool Fits(const std::string& which, unsigned long call) {
  if (which == "*") return true;
  const unsigned long number = std::strtoul(which.c_str(), nullptr, 10);
  return !which.empty() && which.back() == '+' ? call >= number : call == number;
}

std::optional<Action> Parse(const std::string& verb, const std::string& argument) {
  using Kind = Action::Kind;
  const unsigned long number = std::strtoul(argument.c_str(), nullptr, 0);
  if (verb == "return") return Action{Kind::kReturn, number};
  if (verb == "hang") return Action{Kind::kHang, 0};
  if (verb == "crash") return Action{Kind::kCrash, 0};
  if (verb == "delay") return Action{Kind::kDelay, number};
  if (verb == "flags") return Action{Kind::kFlags, number};
  if (verb == "corrupt") return Action{Kind::kCorrupt, 0};
  return std::nullopt;
}

}  // namespace

std::optional<Action> ActionFor(const std::string& function, unsigned long call) {
  const char* path = std::getenv("FAULTY_PKCS11_CONTROL");
  if (path == nullptr) return std::nullopt;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name, which, verb, argument;
    words >> name >> which >> verb >> argument;
    if (name == function && Fits(which, call)) return Parse(verb, argument);
  }
  return std::nullopt;
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
