#pragma once

#include <chrono>
#include <string>

#include "firmware/runtime/result.h"
#include "signerd/keys/key_manager.h"
#include "signerd/store/store.h"

namespace hallmark::keys {

// What is in force for the domain: its own policy, that of all others, or the built-in one.
Result<store::RotationPolicy> PolicyOf(store::Store& store, const std::string& domain);

// kInvalidArgument names the field.
Status ValidatePolicy(const store::RotationPolicy& policy);

// kNotFound where the policy's token is not configured, kTokenRefused where it cannot make the policy's keys; the
// sentence says what to do.
Status CheckToken(const Signer& signer, const store::RotationPolicy& policy);

// A selector by the policy's scheme that the domain never had.
Result<std::string> NewSelector(store::Store& store, const store::RotationPolicy& policy, const std::string& domain,
                                dkim::Algorithm algorithm, std::chrono::sys_seconds now);

// "YYYYMMDD", UTC.
std::string DateText(std::chrono::sys_seconds time);

}  // namespace hallmark::keys
