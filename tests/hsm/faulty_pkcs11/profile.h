#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace faulty {

struct Profile {
  std::int64_t latency_ns = 0;  // of a C_Sign call; 0: it does not sleep
  unsigned long sessions = 64;  // that can be open at once
  std::int64_t rate = 0;        // signatures a second over the whole token; 0: no limit
  bool hardware = false;        // it does not say that SoftHSM made it
};

// The value of FAULTY_PKCS11_SIMULATE; see README.md. Nothing where it is not understood.
std::optional<Profile> ParseProfile(std::string_view text);

}  // namespace faulty
