#pragma once

#include <p11-kit/pkcs11.h>

#include "profile.h"

namespace faulty {

// Puts a simulated token, which the module with these functions makes the signatures of, in the module's place. Once a
// process.
void Simulate(const Profile& profile, CK_FUNCTION_LIST& functions);

}  // namespace faulty
