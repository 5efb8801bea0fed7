#pragma once

#include <p11-kit/pkcs11.h>

#include <string>

#include "firmware/runtime/result.h"

// The one place where a CK_RV is compared. Everything else asks what it means.
namespace hallmark::pkcs11 {

// What has to be done after a failure, from the least to the most.
enum class Recovery : std::uint8_t {
  kNone,     // the request was refused; the token is well
  kSession,  // an operation may still be active: this session is not used again
  kLogin,    // the login or the handles are gone: log in again, find every key again
  kRoom,     // perhaps no more than room that the module keeps until a logout: log in again; a second time, as kModule
  kModule,   // the module or the device is in trouble: finalize and initialize
  kPin,      // the PIN was refused: never again with this one
};

// What a failed call means. `error.token_code` is the CK_RV.
Recovery RecoveryFor(const Error& error);

// kTokenRefused, kPinRejected or kTokenDown, with "FUNCTION: NAME" as its sentence.
Error MakeTokenError(CK_RV value, const char* function);

// "CKR_DEVICE_ERROR", or its number where it has no name.
std::string NameOf(CK_RV value);

// The values that callers need to tell apart without any recovery.
bool IsOk(CK_RV value);
bool IsAlreadyLoggedIn(CK_RV value);
bool IsMechanismInvalid(CK_RV value);
bool IsFunctionNotSupported(CK_RV value);
// The token is not there, or not known to the module.
bool IsAbsence(CK_RV value);
// The code does not say what is wrong: none of those that are known here (vendors have their own), or a general one.
bool IsUnknown(const Error& error);
bool SaysNothing(const Error& error);
// The token has no room for another session.
bool IsSessionCount(const Error& error);

}  // namespace hallmark::pkcs11
