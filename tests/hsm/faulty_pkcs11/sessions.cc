#include "sessions.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "mapped.h"

namespace faulty {
namespace {

using Count = std::atomic<unsigned long>;

// Never destroyed: a thread may still be in a call when the process ends.
Count& OpenSessions() {
  static Count& count = [&]() -> Count& {
    const char* path = std::getenv("FAULTY_PKCS11_CONTROL");
    if (path == nullptr) return *new Count(0);
    return *MapFile<Count>(std::string(path) + ".sessions-" + std::to_string(::getpid()));
  }();
  return count;
}

}  // namespace

void CountOpenedSession() { ++OpenSessions(); }
void CountClosedSession() { --OpenSessions(); }
unsigned long CountNoSession() { return OpenSessions().exchange(0); }

}  // namespace faulty
