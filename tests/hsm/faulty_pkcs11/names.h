#pragma once

#include <p11-kit/pkcs11.h>

#include <utility>

namespace faulty {

// The functions that rules may name, and C_GetFunctionList, which is called once by each process: those that are for a
// session, which is their first argument, and those that are not.
#define FAULTY_SESSION_FUNCTIONS(each)                                                                             \
  each(C_CloseSession) each(C_GetSessionInfo) each(C_InitPIN) each(C_Login) each(C_Logout) each(C_FindObjectsInit) \
      each(C_FindObjects) each(C_FindObjectsFinal) each(C_GetAttributeValue) each(C_GenerateKeyPair)               \
          each(C_CreateObject) each(C_CopyObject) each(C_DestroyObject) each(C_UnwrapKey) each(C_SignInit)         \
              each(C_Sign) each(C_DecryptInit) each(C_Decrypt)
#define FAULTY_FUNCTIONS(each)                                                                 \
  each(C_Initialize) each(C_Finalize) each(C_GetInfo) each(C_GetSlotList) each(C_GetTokenInfo) \
      each(C_GetMechanismInfo) each(C_InitToken) each(C_OpenSession) each(C_CloseAllSessions)  \
          FAULTY_SESSION_FUNCTIONS(each)

#define FAULTY_NAME(name) #name,
inline constexpr const char* kFunctions[] = {FAULTY_FUNCTIONS(FAULTY_NAME) "C_GetFunctionList"};
inline constexpr const char* kSessionFunctions[] = {FAULTY_SESSION_FUNCTIONS(FAULTY_NAME)};
#undef FAULTY_NAME

// What a rule may call by its name instead of its number.
#define FAULTY_VALUE(name) \
  { #name, name }
inline constexpr std::pair<const char*, CK_RV> kValues[] = {
    FAULTY_VALUE(CKR_HOST_MEMORY),
    FAULTY_VALUE(CKR_SLOT_ID_INVALID),
    FAULTY_VALUE(CKR_GENERAL_ERROR),
    FAULTY_VALUE(CKR_FUNCTION_FAILED),
    FAULTY_VALUE(CKR_ARGUMENTS_BAD),
    FAULTY_VALUE(CKR_CANT_LOCK),
    FAULTY_VALUE(CKR_ATTRIBUTE_SENSITIVE),
    FAULTY_VALUE(CKR_ATTRIBUTE_TYPE_INVALID),
    FAULTY_VALUE(CKR_DATA_INVALID),
    FAULTY_VALUE(CKR_DATA_LEN_RANGE),
    FAULTY_VALUE(CKR_DEVICE_ERROR),
    FAULTY_VALUE(CKR_DEVICE_MEMORY),
    FAULTY_VALUE(CKR_DEVICE_REMOVED),
    FAULTY_VALUE(CKR_FUNCTION_CANCELED),
    FAULTY_VALUE(CKR_FUNCTION_NOT_SUPPORTED),
    FAULTY_VALUE(CKR_KEY_HANDLE_INVALID),
    FAULTY_VALUE(CKR_KEY_TYPE_INCONSISTENT),
    FAULTY_VALUE(CKR_KEY_FUNCTION_NOT_PERMITTED),
    FAULTY_VALUE(CKR_MECHANISM_INVALID),
    FAULTY_VALUE(CKR_OBJECT_HANDLE_INVALID),
    FAULTY_VALUE(CKR_OPERATION_ACTIVE),
    FAULTY_VALUE(CKR_OPERATION_NOT_INITIALIZED),
    FAULTY_VALUE(CKR_PIN_INCORRECT),
    FAULTY_VALUE(CKR_PIN_EXPIRED),
    FAULTY_VALUE(CKR_PIN_LOCKED),
    FAULTY_VALUE(CKR_SESSION_CLOSED),
    FAULTY_VALUE(CKR_SESSION_COUNT),
    FAULTY_VALUE(CKR_SESSION_HANDLE_INVALID),
    FAULTY_VALUE(CKR_TOKEN_NOT_PRESENT),
    FAULTY_VALUE(CKR_TOKEN_NOT_RECOGNIZED),
    FAULTY_VALUE(CKR_USER_ALREADY_LOGGED_IN),
    FAULTY_VALUE(CKR_USER_NOT_LOGGED_IN),
    FAULTY_VALUE(CKR_USER_PIN_NOT_INITIALIZED),
    FAULTY_VALUE(CKR_USER_TOO_MANY_TYPES),
    FAULTY_VALUE(CKR_BUFFER_TOO_SMALL),
    FAULTY_VALUE(CKR_CRYPTOKI_NOT_INITIALIZED),
    FAULTY_VALUE(CKR_CRYPTOKI_ALREADY_INITIALIZED),
    FAULTY_VALUE(CKR_VENDOR_DEFINED),
    FAULTY_VALUE(CKM_RSA_PKCS),
    FAULTY_VALUE(CKM_SHA256_RSA_PKCS),
    FAULTY_VALUE(CKM_EDDSA),
    FAULTY_VALUE(CKM_RSA_PKCS_KEY_PAIR_GEN),
    FAULTY_VALUE(CKM_EC_EDWARDS_KEY_PAIR_GEN),
    FAULTY_VALUE(CKF_USER_PIN_FINAL_TRY),
    FAULTY_VALUE(CKF_USER_PIN_LOCKED),
    FAULTY_VALUE(CKF_USER_PIN_TO_BE_CHANGED),
};
#undef FAULTY_VALUE

}  // namespace faulty
