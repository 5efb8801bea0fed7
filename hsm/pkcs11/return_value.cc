#include "hsm/pkcs11/return_value.h"

#include <cstdio>

namespace hallmark::pkcs11 {
namespace {

struct Row {
  CK_RV value;
  const char* name;
  Recovery recovery;
};

// A value that is not here is unexpected: the session is not used again.
constexpr Row kRows[] = {
    {CKR_HOST_MEMORY, "CKR_HOST_MEMORY", Recovery::kModule},
    {CKR_SLOT_ID_INVALID, "CKR_SLOT_ID_INVALID", Recovery::kModule},
    {CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR", Recovery::kRoom},
    {CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED", Recovery::kSession},
    {CKR_ARGUMENTS_BAD, "CKR_ARGUMENTS_BAD", Recovery::kSession},
    {CKR_CANT_LOCK, "CKR_CANT_LOCK", Recovery::kNone},
    {CKR_ATTRIBUTE_READ_ONLY, "CKR_ATTRIBUTE_READ_ONLY", Recovery::kNone},
    {CKR_ATTRIBUTE_SENSITIVE, "CKR_ATTRIBUTE_SENSITIVE", Recovery::kNone},
    {CKR_ATTRIBUTE_TYPE_INVALID, "CKR_ATTRIBUTE_TYPE_INVALID", Recovery::kNone},
    {CKR_ATTRIBUTE_VALUE_INVALID, "CKR_ATTRIBUTE_VALUE_INVALID", Recovery::kNone},
    {CKR_ACTION_PROHIBITED, "CKR_ACTION_PROHIBITED", Recovery::kNone},
    {CKR_DATA_INVALID, "CKR_DATA_INVALID", Recovery::kNone},
    {CKR_DATA_LEN_RANGE, "CKR_DATA_LEN_RANGE", Recovery::kNone},
    {CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR", Recovery::kModule},
    {CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY", Recovery::kModule},
    {CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED", Recovery::kModule},
    {CKR_FUNCTION_CANCELED, "CKR_FUNCTION_CANCELED", Recovery::kSession},
    {CKR_FUNCTION_NOT_SUPPORTED, "CKR_FUNCTION_NOT_SUPPORTED", Recovery::kNone},
    {CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID", Recovery::kLogin},
    {CKR_KEY_SIZE_RANGE, "CKR_KEY_SIZE_RANGE", Recovery::kNone},
    {CKR_KEY_TYPE_INCONSISTENT, "CKR_KEY_TYPE_INCONSISTENT", Recovery::kNone},
    {CKR_KEY_FUNCTION_NOT_PERMITTED, "CKR_KEY_FUNCTION_NOT_PERMITTED", Recovery::kNone},
    {CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID", Recovery::kNone},
    {CKR_MECHANISM_PARAM_INVALID, "CKR_MECHANISM_PARAM_INVALID", Recovery::kNone},
    {CKR_OBJECT_HANDLE_INVALID, "CKR_OBJECT_HANDLE_INVALID", Recovery::kLogin},
    {CKR_OPERATION_ACTIVE, "CKR_OPERATION_ACTIVE", Recovery::kSession},
    {CKR_OPERATION_NOT_INITIALIZED, "CKR_OPERATION_NOT_INITIALIZED", Recovery::kSession},
    {CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT", Recovery::kPin},
    {CKR_PIN_INVALID, "CKR_PIN_INVALID", Recovery::kPin},
    {CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE", Recovery::kPin},
    {CKR_PIN_EXPIRED, "CKR_PIN_EXPIRED", Recovery::kPin},
    {CKR_PIN_LOCKED, "CKR_PIN_LOCKED", Recovery::kPin},
    {CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED", Recovery::kLogin},
    {CKR_SESSION_COUNT, "CKR_SESSION_COUNT", Recovery::kSession},
    {CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID", Recovery::kLogin},
    {CKR_SESSION_READ_WRITE_SO_EXISTS, "CKR_SESSION_READ_WRITE_SO_EXISTS", Recovery::kSession},
    {CKR_SESSION_READ_ONLY, "CKR_SESSION_READ_ONLY", Recovery::kNone},
    {CKR_TEMPLATE_INCOMPLETE, "CKR_TEMPLATE_INCOMPLETE", Recovery::kNone},
    {CKR_TEMPLATE_INCONSISTENT, "CKR_TEMPLATE_INCONSISTENT", Recovery::kNone},
    {CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT", Recovery::kModule},
    {CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED", Recovery::kModule},
    {CKR_TOKEN_WRITE_PROTECTED, "CKR_TOKEN_WRITE_PROTECTED", Recovery::kNone},
    {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Recovery::kSession},
    {CKR_USER_TOO_MANY_TYPES, "CKR_USER_TOO_MANY_TYPES", Recovery::kSession},
    {CKR_USER_ALREADY_LOGGED_IN, "CKR_USER_ALREADY_LOGGED_IN", Recovery::kSession},
    {CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN", Recovery::kLogin},
    // Whoever makes the token has yet to set it; SoftHSM sees that when it is initialized again, and not before.
    {CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED", Recovery::kModule},
    {CKR_USER_TYPE_INVALID, "CKR_USER_TYPE_INVALID", Recovery::kNone},
    {CKR_BUFFER_TOO_SMALL, "CKR_BUFFER_TOO_SMALL", Recovery::kSession},
    {CKR_DOMAIN_PARAMS_INVALID, "CKR_DOMAIN_PARAMS_INVALID", Recovery::kNone},
    {CKR_CURVE_NOT_SUPPORTED, "CKR_CURVE_NOT_SUPPORTED", Recovery::kNone},
    {CKR_CRYPTOKI_NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED", Recovery::kModule},
    {CKR_CRYPTOKI_ALREADY_INITIALIZED, "CKR_CRYPTOKI_ALREADY_INITIALIZED", Recovery::kModule},
};

const Row* Find(CK_RV value) {
  for (const Row& row : kRows) {
    if (row.value == value) return &row;
  }
  return nullptr;
}

Recovery RecoveryOf(CK_RV value) {
  const Row* row = Find(value);
  return row == nullptr ? Recovery::kSession : row->recovery;
}

}  // namespace

Recovery RecoveryFor(const Error& error) {
  return error.token_code == CKR_OK ? Recovery::kNone : RecoveryOf(static_cast<CK_RV>(error.token_code));
}

Error MakeTokenError(CK_RV value, const char* function) {
  Reason reason = Reason::kTokenDown;
  const Recovery recovery = RecoveryOf(value);
  if (recovery == Recovery::kNone) reason = Reason::kTokenRefused;
  if (recovery == Recovery::kPin) reason = Reason::kPinRejected;
  return Error{reason, std::string(function) + ": " + NameOf(value), value};
}

std::string NameOf(CK_RV value) {
  if (const Row* row = Find(value)) return row->name;
  char text[40];
  std::snprintf(text, sizeof text, "CK_RV 0x%08lx", value);
  return text;
}

bool IsOk(CK_RV value) { return value == CKR_OK; }
bool IsAlreadyLoggedIn(CK_RV value) { return value == CKR_USER_ALREADY_LOGGED_IN; }
bool IsAbsence(CK_RV value) {
  return value == CKR_TOKEN_NOT_PRESENT || value == CKR_TOKEN_NOT_RECOGNIZED || value == CKR_DEVICE_REMOVED;
}
bool IsUnknown(const Error& error) { return error.token_code != CKR_OK && Find(error.token_code) == nullptr; }
bool SaysNothing(const Error& error) {
  return IsUnknown(error) || error.token_code == CKR_GENERAL_ERROR || error.token_code == CKR_FUNCTION_FAILED;
}
bool IsSessionCount(const Error& error) { return error.token_code == CKR_SESSION_COUNT; }
bool IsMechanismInvalid(CK_RV value) { return value == CKR_MECHANISM_INVALID; }
bool IsFunctionNotSupported(CK_RV value) { return value == CKR_FUNCTION_NOT_SUPPORTED; }

}  // namespace hallmark::pkcs11
