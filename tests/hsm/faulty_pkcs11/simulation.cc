#include "simulation.h"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "rules.h"
#include "signatures.h"

namespace faulty {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// That of RSA-16384: no larger one is known.
constexpr std::size_t kLargestSignature = 2048;

std::int64_t Now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

void SleepUntil(std::int64_t instant) {
  // By default the kernel may wake a thread 50 us late, to join it with others.
  thread_local const int exact = ::prctl(PR_SET_TIMERSLACK, 1);
  static_cast<void>(exact);
  const timespec until = {instant / kSecond, instant % kSecond};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

// Holds each signature back as long as the token would take for it.
class Pace {
 public:
  void Set(const Profile& profile) {
    latency_ = profile.latency_ns;
    interval_ = profile.rate == 0 ? 0 : kSecond / profile.rate;
  }
  // For a call that began then.
  void Wait(std::int64_t begun) {
    std::int64_t until = latency_ == 0 ? 0 : begun + latency_;
    if (interval_ != 0) until = std::max(until, Turn(begun));
    if (until != 0) SleepUntil(until);
  }

 private:
  std::int64_t Turn(std::int64_t begun) {
    std::int64_t free = next_free_.load(), turn = 0;
    do {
      turn = std::max(free, begun);
    } while (!next_free_.compare_exchange_weak(free, turn + interval_));
    return turn;
  }
  std::int64_t latency_ = 0, interval_ = 0;
  std::atomic<std::int64_t> next_free_{0};
};

struct Session {
  CK_SLOT_ID slot = 0;
  // A program that uses a session from two threads is wrong, and must not bring the module down.
  std::mutex mutex;
  bool active = false;  // C_SignInit was called, and what follows is of that operation
  CK_MECHANISM_TYPE mechanism = 0;
  CK_OBJECT_HANDLE key = 0;
  std::string entry;  // of the signature table: up to `prefix` octets key and mechanism, then the input
  std::size_t prefix = 0;
  std::string signature;
};

class Token {
 public:
  void Start(const Profile& profile, const CK_FUNCTION_LIST& real) {
    profile_ = profile;
    real_ = real;
    pace_.Set(profile);
  }
  CK_RV Initialize(void* arguments);
  CK_RV Finalize(void* reserved);
  CK_RV GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO* info);
  CK_RV OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void* application, CK_NOTIFY notify, CK_SESSION_HANDLE* handle);
  CK_RV CloseSession(CK_SESSION_HANDLE handle);
  CK_RV CloseAllSessions(CK_SLOT_ID slot);
  CK_RV Logout(CK_SESSION_HANDLE handle);
  CK_RV DestroyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object);
  CK_RV SignInit(CK_SESSION_HANDLE handle, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key);
  CK_RV Sign(CK_SESSION_HANDLE handle, CK_BYTE* input, CK_ULONG size, CK_BYTE* signature, CK_ULONG* signature_size);

 private:
  std::shared_ptr<Session> Find(CK_SESSION_HANDLE handle);
  std::size_t CountSessions(CK_SLOT_ID slot) const;
  void Reset();
  void ForgetKeys();
  CK_RV NameOf(CK_SESSION_HANDLE handle, CK_SLOT_ID slot, CK_OBJECT_HANDLE key, std::string& name);
  CK_RV MakeName(CK_SESSION_HANDLE handle, CK_SLOT_ID slot, CK_OBJECT_HANDLE key, std::string& name);
  CK_RV FindSignature(CK_SESSION_HANDLE handle, Session& session, CK_BYTE* input, CK_ULONG size);
  CK_RV MakeSignature(CK_SESSION_HANDLE handle, Session& session, CK_BYTE* input, CK_ULONG size);

  Profile profile_;
  CK_FUNCTION_LIST real_{};
  Pace pace_;
  std::shared_mutex sessions_mutex_;
  std::unordered_map<CK_SESSION_HANDLE, std::shared_ptr<Session>> sessions_;
  std::shared_mutex names_mutex_;
  std::unordered_map<CK_OBJECT_HANDLE, std::string> names_;  // what the table calls a key
  SignatureTable signatures_;
  SignatureFile file_;
  bool keeps_ = false;  // there is a file
};

CK_RV Token::Initialize(void* arguments) {
  const CK_RV value = real_.C_Initialize(arguments);
  if (value != CKR_OK) return value;
  Reset();
  const char* path = std::getenv("FAULTY_PKCS11_CACHE");
  keeps_ = path != nullptr;
  if (!keeps_ || file_.Open(path, signatures_)) return CKR_OK;
  real_.C_Finalize(nullptr);
  return CKR_GENERAL_ERROR;
}

CK_RV Token::Finalize(void* reserved) {
  const CK_RV value = real_.C_Finalize(reserved);
  if (value == CKR_OK) Reset();
  return value;
}

void Token::Reset() {
  {
    const std::unique_lock lock(sessions_mutex_);
    sessions_.clear();
  }
  ForgetKeys();
  file_.Close();
  signatures_.Clear();
}

// Handles may mean something else from now on, or nothing.
void Token::ForgetKeys() {
  const std::unique_lock lock(names_mutex_);
  names_.clear();
  if (!keeps_) signatures_.Clear();
}

CK_RV Token::GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  const CK_RV value = real_.C_GetTokenInfo(slot, info);
  if (value != CKR_OK) return value;
  const std::shared_lock lock(sessions_mutex_);
  info->ulMaxSessionCount = info->ulMaxRwSessionCount = profile_.sessions;
  info->ulSessionCount = CountSessions(slot);
  if (profile_.hardware) {
    std::memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
    std::memcpy(info->manufacturerID, "Simulated", 9);
  }
  return CKR_OK;
}

std::size_t Token::CountSessions(CK_SLOT_ID slot) const {
  return static_cast<std::size_t>(std::count_if(sessions_.begin(), sessions_.end(),
                                                [&](const auto& session) { return session.second->slot == slot; }));
}

CK_RV Token::OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void* application, CK_NOTIFY notify,
                         CK_SESSION_HANDLE* handle) {
  const std::unique_lock lock(sessions_mutex_);
  if (CountSessions(slot) >= profile_.sessions) return CKR_SESSION_COUNT;
  const CK_RV value = real_.C_OpenSession(slot, flags, application, notify, handle);
  if (value != CKR_OK) return value;
  auto session = std::make_shared<Session>();
  session->slot = slot;
  sessions_[*handle] = std::move(session);
  return CKR_OK;
}

CK_RV Token::CloseSession(CK_SESSION_HANDLE handle) {
  const CK_RV value = real_.C_CloseSession(handle);
  if (value != CKR_OK) return value;
  bool last = false;
  {
    const std::unique_lock lock(sessions_mutex_);
    sessions_.erase(handle);
    last = sessions_.empty();
  }
  // The token logs out with its last session.
  if (last) ForgetKeys();
  return CKR_OK;
}

CK_RV Token::CloseAllSessions(CK_SLOT_ID slot) {
  const CK_RV value = real_.C_CloseAllSessions(slot);
  if (value != CKR_OK) return value;
  {
    const std::unique_lock lock(sessions_mutex_);
    std::erase_if(sessions_, [&](const auto& session) { return session.second->slot == slot; });
  }
  ForgetKeys();
  return CKR_OK;
}

CK_RV Token::Logout(CK_SESSION_HANDLE handle) {
  const CK_RV value = real_.C_Logout(handle);
  if (value == CKR_OK) ForgetKeys();
  return value;
}

CK_RV Token::DestroyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object) {
  const CK_RV value = real_.C_DestroyObject(handle, object);
  if (value == CKR_OK) ForgetKeys();
  return value;
}

std::shared_ptr<Session> Token::Find(CK_SESSION_HANDLE handle) {
  const std::shared_lock lock(sessions_mutex_);
  const auto found = sessions_.find(handle);
  return found == sessions_.end() ? nullptr : found->second;
}

// Asks the real module about a key only the first time.
CK_RV Token::NameOf(CK_SESSION_HANDLE handle, CK_SLOT_ID slot, CK_OBJECT_HANDLE key, std::string& name) {
  {
    const std::shared_lock lock(names_mutex_);
    const auto known = names_.find(key);
    if (known != names_.end()) {
      name = known->second;
      return CKR_OK;
    }
  }
  const CK_RV value = MakeName(handle, slot, key, name);
  if (value != CKR_OK) return value;
  const std::unique_lock lock(names_mutex_);
  names_[key] = name;
  return CKR_OK;
}

CK_RV Token::MakeName(CK_SESSION_HANDLE handle, CK_SLOT_ID slot, CK_OBJECT_HANDLE key, std::string& name) {
  char id[256];
  CK_ATTRIBUTE attribute{CKA_ID, id, sizeof id};
  const CK_RV value = real_.C_GetAttributeValue(handle, key, &attribute, 1);
  if (value == CKR_OBJECT_HANDLE_INVALID) return CKR_KEY_HANDLE_INVALID;
  if (value != CKR_OK) return value;
  if (!keeps_) {
    name = "handle " + std::to_string(key) + " ";
    return CKR_OK;
  }
  if (attribute.ulValueLen == 0) return CKR_FUNCTION_NOT_SUPPORTED;
  // Another token may have another key of this CKA_ID.
  CK_TOKEN_INFO info{};
  const CK_RV described = real_.C_GetTokenInfo(slot, &info);
  if (described != CKR_OK) return described;
  name.assign(reinterpret_cast<const char*>(info.serialNumber), sizeof info.serialNumber);
  name += " " + std::to_string(attribute.ulValueLen) + " ";
  name.append(id, attribute.ulValueLen);
  return CKR_OK;
}

CK_RV Token::SignInit(CK_SESSION_HANDLE handle, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
  const auto session = Find(handle);
  if (session == nullptr) return CKR_SESSION_HANDLE_INVALID;
  const std::lock_guard lock(session->mutex);
  if (session->active) return CKR_OPERATION_ACTIVE;
  if (mechanism == nullptr) return CKR_ARGUMENTS_BAD;
  // A parameter may point to what is gone by C_Sign.
  if (mechanism->ulParameterLen != 0) return CKR_MECHANISM_PARAM_INVALID;
  const CK_RV value = NameOf(handle, session->slot, key, session->entry);
  if (value != CKR_OK) return value;
  session->entry.append(reinterpret_cast<const char*>(&mechanism->mechanism), sizeof mechanism->mechanism);
  session->prefix = session->entry.size();
  session->mechanism = mechanism->mechanism;
  session->key = key;
  session->active = true;
  return CKR_OK;
}

CK_RV Token::Sign(CK_SESSION_HANDLE handle, CK_BYTE* input, CK_ULONG size, CK_BYTE* signature,
                  CK_ULONG* signature_size) {
  const std::int64_t begun = Now();
  const auto session = Find(handle);
  if (session == nullptr) return CKR_SESSION_HANDLE_INVALID;
  const std::lock_guard lock(session->mutex);
  if (!session->active) return CKR_OPERATION_NOT_INITIALIZED;
  const bool sound = signature_size != nullptr && (input != nullptr || size == 0);
  const CK_RV value = sound ? FindSignature(handle, *session, input, size) : CKR_ARGUMENTS_BAD;
  if (value != CKR_OK) {
    session->active = false;
    return value;
  }
  const CK_ULONG room = *signature_size;
  *signature_size = session->signature.size();
  if (signature == nullptr) return CKR_OK;
  if (room < session->signature.size()) return CKR_BUFFER_TOO_SMALL;
  session->active = false;
  pace_.Wait(begun);
  std::memcpy(signature, session->signature.data(), session->signature.size());
  return CKR_OK;
}

CK_RV Token::FindSignature(CK_SESSION_HANDLE handle, Session& session, CK_BYTE* input, CK_ULONG size) {
  session.entry.resize(session.prefix);
  session.entry.append(reinterpret_cast<const char*>(input), size);
  if (signatures_.Find(session.entry, session.signature)) return CKR_OK;
  const CK_RV value = MakeSignature(handle, session, input, size);
  if (value != CKR_OK) return value;
  signatures_.Add(session.entry, session.signature);
  file_.Append(session.entry, session.signature);
  return CKR_OK;
}

CK_RV Token::MakeSignature(CK_SESSION_HANDLE handle, Session& session, CK_BYTE* input, CK_ULONG size) {
  Log("signed");
  CK_MECHANISM mechanism{session.mechanism, nullptr, 0};
  CK_RV value = real_.C_SignInit(handle, &mechanism, session.key);
  if (value != CKR_OK) return value;
  session.signature.resize(kLargestSignature);
  CK_ULONG made = session.signature.size();
  value = real_.C_Sign(handle, input, size, reinterpret_cast<CK_BYTE*>(session.signature.data()), &made);
  session.signature.resize(value == CKR_OK ? made : 0);
  return value;
}

// Never destroyed: a thread may still be in a call when the process ends.
Token& TheToken() {
  static Token& token = *new Token;
  return token;
}

// PKCS#11 functions are plain pointers: each calls the token's member.
template <auto Member>
struct Simulated;
template <class... Args, CK_RV (Token::*Member)(Args...)>
struct Simulated<Member> {
  static CK_RV Call(Args... args) { return (TheToken().*Member)(args...); }
};

}  // namespace

void Simulate(const Profile& profile, CK_FUNCTION_LIST& functions) {
  TheToken().Start(profile, functions);
  functions.C_Initialize = &Simulated<&Token::Initialize>::Call;
  functions.C_Finalize = &Simulated<&Token::Finalize>::Call;
  functions.C_GetTokenInfo = &Simulated<&Token::GetTokenInfo>::Call;
  functions.C_OpenSession = &Simulated<&Token::OpenSession>::Call;
  functions.C_CloseSession = &Simulated<&Token::CloseSession>::Call;
  functions.C_CloseAllSessions = &Simulated<&Token::CloseAllSessions>::Call;
  functions.C_Logout = &Simulated<&Token::Logout>::Call;
  functions.C_DestroyObject = &Simulated<&Token::DestroyObject>::Call;
  functions.C_SignInit = &Simulated<&Token::SignInit>::Call;
  functions.C_Sign = &Simulated<&Token::Sign>::Call;
}

}  // namespace faulty
