#include "answers.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace faulty {
namespace {

struct Seen {
  std::mutex mutex;                                              // guards everything below
  std::map<CK_ULONG, std::string> signatures;                    // the last but one and the last of each length
  std::map<CK_MECHANISM_TYPE, std::set<CK_OBJECT_HANDLE>> keys;  // since the last login
  std::map<CK_SESSION_HANDLE, CK_MECHANISM_TYPE> mechanisms;     // of each session's last C_SignInit
};

// Never destroyed: a thread may still be in a call when the process ends.
Seen& TheSeen() {
  static Seen& seen = *new Seen;
  return seen;
}

// Gives the signature that was made before in place of this one, where one of this length was.
void Exchange(CK_BYTE* signature, CK_ULONG size) {
  Seen& seen = TheSeen();
  const std::lock_guard lock(seen.mutex);
  const auto& two = seen.signatures[size];
  if (two.size() == 2 * size) std::memcpy(signature, two.data(), size);
}

}  // namespace

void NoteSignature(CK_RV value, CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* signature, CK_ULONG* size) {
  if (value != CKR_OK || signature == nullptr) return;
  CountSignature();
  Seen& seen = TheSeen();
  const std::lock_guard lock(seen.mutex);
  std::string& two = seen.signatures[*size];
  if (two.size() >= 2 * *size) two.erase(0, *size);
  two.append(reinterpret_cast<const char*>(signature), *size);
}

void NoteKeyHandle(CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
  Seen& seen = TheSeen();
  const std::lock_guard lock(seen.mutex);
  seen.mechanisms[session] = mechanism->mechanism;
  seen.keys[mechanism->mechanism].insert(key);
}

void ForgetKeyHandles() {
  Seen& seen = TheSeen();
  const std::lock_guard lock(seen.mutex);
  seen.keys.clear();
}

CK_OBJECT_HANDLE OtherKeyHandle(CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key) {
  Seen& seen = TheSeen();
  const std::lock_guard lock(seen.mutex);
  const auto& keys = seen.keys[mechanism];
  const auto other = std::find_if(keys.begin(), keys.end(), [&](CK_OBJECT_HANDLE one) { return one != key; });
  return other == keys.end() ? key : *other;
}

std::optional<CK_MECHANISM_TYPE> MechanismOf(CK_SESSION_HANDLE session) {
  Seen& seen = TheSeen();
  const std::lock_guard lock(seen.mutex);
  const auto found = seen.mechanisms.find(session);
  return found == seen.mechanisms.end() ? std::nullopt : std::optional(found->second);
}

bool ChangeSignature(const Action& action, CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* signature, CK_ULONG* size) {
  if (signature == nullptr || *size == 0) return false;
  const std::string before(reinterpret_cast<const char*>(signature), *size);
  switch (action.kind) {
    case Action::Kind::kCorrupt: signature[*size / 2] ^= 0x01; break;
    case Action::Kind::kTruncate: *size -= std::min<CK_ULONG>(*size, action.number); break;
    case Action::Kind::kPrevious: Exchange(signature, *size); break;
    case Action::Kind::kLength: *size = action.number; break;
    default: break;
  }
  return *size != before.size() || std::memcmp(signature, before.data(), before.size()) != 0;
}

bool ChangeTokenInfo(const Action& action, CK_SLOT_ID, CK_TOKEN_INFO* info) {
  const CK_TOKEN_INFO before = *info;
  if (action.kind == Action::Kind::kFlags) info->flags |= action.number;
  if (action.kind == Action::Kind::kSerial) {
    char serial[sizeof info->serialNumber + 1];
    std::snprintf(serial, sizeof serial, "%016lx", action.number);
    std::memcpy(info->serialNumber, serial, sizeof info->serialNumber);
  }
  return info->flags != before.flags ||
         std::memcmp(info->serialNumber, before.serialNumber, sizeof before.serialNumber) != 0;
}

bool ChangeLength(const Action& action, CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG* size) {
  return std::exchange(*size, action.number) != action.number;
}

bool ChangeLength(const Action& action, CK_SESSION_HANDLE, CK_OBJECT_HANDLE*, CK_ULONG, CK_ULONG* count) {
  return std::exchange(*count, action.number) != action.number;
}

bool ChangeLength(const Action& action, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  return count > 0 && std::exchange(attributes[0].ulValueLen, action.number) != action.number;
}

bool ChangeLength(const Action& action, CK_BBOOL, CK_SLOT_ID*, CK_ULONG* count) {
  return std::exchange(*count, action.number) != action.number;
}

}  // namespace faulty
