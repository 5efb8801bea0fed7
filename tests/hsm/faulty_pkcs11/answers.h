#pragma once

#include <p11-kit/pkcs11.h>

#include <optional>

#include "rules.h"

namespace faulty {

// What calls of C_Sign gave and which keys C_SignInit was given, for wrong answers made of them; and such answers. Any
// thread.
void NoteSignature(CK_RV value, CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* signature, CK_ULONG* size);
void NoteKeyHandle(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key);
void ForgetKeyHandles();

// Another key that was used with this mechanism since the last login; `key` where there is none.
CK_OBJECT_HANDLE OtherKeyHandle(CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key);

// That of the session's last C_SignInit.
std::optional<CK_MECHANISM_TYPE> MechanismOf(CK_SESSION_HANDLE session);

// Change what a call is about to give; whether it is another answer now.
bool ChangeSignature(const Action& action, CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* signature, CK_ULONG* size);
bool ChangeTokenInfo(const Action& action, CK_SLOT_ID, CK_TOKEN_INFO* info);
bool ChangeLength(const Action& action, CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* data, CK_ULONG* size);
bool ChangeLength(const Action& action, CK_SESSION_HANDLE, CK_OBJECT_HANDLE*, CK_ULONG, CK_ULONG* count);
bool ChangeLength(const Action& action, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE* attributes, CK_ULONG count);
bool ChangeLength(const Action& action, CK_BBOOL, CK_SLOT_ID*, CK_ULONG* count);

}  // namespace faulty
