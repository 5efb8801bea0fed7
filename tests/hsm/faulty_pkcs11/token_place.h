#pragma once

#include <p11-kit/pkcs11.h>

#include <mutex>
#include <optional>
#include <shared_mutex>

namespace faulty {

// Where the token is: in its slot, in another one, or pulled out, as the rules for "token" say. What happens to
// sessions then is done to the real module. Any thread.
class TokenPlace {
 public:
  // What a call finds that is passed on now: every session is closed first where the token has been moved since.
  struct Now {
    std::shared_lock<std::shared_mutex> passing;  // hold it while in the real module
    bool absent = false;
    CK_SLOT_ID offset = 0;  // what is added to the real numbers of slots
  };
  Now Look(const CK_FUNCTION_LIST& real);

  // Alone in the real module. Whether there were any.
  bool CloseEverySession(const CK_FUNCTION_LIST& real);

 private:
  bool CloseSessions(const CK_FUNCTION_LIST& real);

  std::shared_mutex mutex_;  // shared by whoever is in the real module; guards everything below
  bool absent_ = false;
  CK_SLOT_ID offset_ = 0;
};

}  // namespace faulty
