#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "answers.h"
#include "names.h"
#include "rules.h"
#include "sessions.h"
#include "simulation.h"
#include "token_place.h"

namespace faulty {
namespace {

CK_FUNCTION_LIST real;   // the other module's, or those of the token simulated with it
CK_FUNCTION_LIST shown;  // ours: the same, but for the functions that have rules

// Never destroyed: a thread may still be in a call when the process ends.
TokenPlace& Place() {
  static TokenPlace& place = *new TokenPlace;
  return place;
}

// Every call comes in by it; whoever keeps it is alone in the token. Never destroyed, as above.
std::shared_mutex& Door() {
  static std::shared_mutex& door = *new std::shared_mutex;
  return door;
}

// What needs nothing of the call: gives what it answers in its place, if that is all; or waits, ends the process,
// hangs.
std::optional<CK_RV> ObeyInstead(const Action& action) {
  switch (action.kind) {
    case Action::Kind::kReturn: action.Done(); return action.number;
    case Action::Kind::kCrash: action.Done(); std::abort();
    case Action::Kind::kExit: action.Done(); std::exit(3);
    case Action::Kind::kHang:
      action.Done();
      Log("hang");
      while (true) ::pause();
    case Action::Kind::kDelay:
      action.Done();  // whoever will not wait so long ends the process meanwhile
      std::this_thread::sleep_for(std::chrono::milliseconds(action.number));
      return std::nullopt;
    case Action::Kind::kAlone: {
      const std::unique_lock alone(Door());
      action.Done();
      std::this_thread::sleep_for(std::chrono::milliseconds(action.number));
      return std::nullopt;
    }
    default: return std::nullopt;
  }
}

// What becomes of a call while the token is where the rules say. The slots' numbers are those that are shown.
CK_RV ListSlots(const TokenPlace::Now& now, CK_BBOOL, CK_SLOT_ID* slots, CK_ULONG* count) {
  if (now.absent) {
    *count = 0;
    return CKR_OK;
  }
  const CK_RV value = real.C_GetSlotList(CK_TRUE, slots, count);
  if (value == CKR_OK && slots != nullptr) {
    std::for_each(slots, slots + *count, [&](CK_SLOT_ID& slot) { slot += now.offset; });
  }
  return value;
}

template <auto Member, class... Args>
CK_RV CallSlot(const TokenPlace::Now& now, CK_SLOT_ID slot, Args... args) {
  return now.absent ? CKR_TOKEN_NOT_PRESENT : (real.*Member)(slot - now.offset, args...);
}

// One function of the list, counted and with its rules obeyed.
template <auto Member, const char* kName>
struct Wrapped;

template <class... Args, CK_RV (*CK_FUNCTION_LIST::*Member)(Args...), const char* kName>
struct Wrapped<Member, kName> {
  static constexpr std::string_view kFunction = kName;
  static constexpr bool kOfModule =
      kFunction == "C_Initialize" || kFunction == "C_Finalize" || kFunction == "C_GetInfo";
  static constexpr bool kOfSlot = kFunction == "C_GetTokenInfo" || kFunction == "C_GetMechanismInfo" ||
                                  kFunction == "C_OpenSession" || kFunction == "C_CloseAllSessions" ||
                                  kFunction == "C_InitToken";

  static CK_RV Call(Args... args) {
    static std::atomic<unsigned long> calls{0};
    if (kFunction == "C_Login" || kFunction == "C_Initialize") Log(kName);
    if constexpr (kFunction == "C_Login") ForgetKeyHandles();
    { const std::shared_lock in(Door()); }
    const auto action = ActionFor(kName, ++calls, Mechanism(args...));
    if (!action) return Pass(args...);
    if (const auto instead = ObeyInstead(*action)) return *instead;
    switch (action->kind) {
      case Action::Kind::kDrop:
        if (Place().CloseEverySession(real)) action->Done();
        break;
      case Action::Kind::kLogout:
        if (LogOut(args...)) action->Done();
        break;
      case Action::Kind::kLeak:
        Keep(action->number);
        action->Done();
        break;
      case Action::Kind::kOtherKey: return PassWithOtherKey(*action, args...);
      case Action::Kind::kDelay:
      case Action::Kind::kAlone: break;
      default: return Change(*action, Pass(args...), args...);
    }
    return Pass(args...);
  }

 private:
  // MiB of memory that is in use from here on.
  static void Keep(unsigned long mib) {
    static std::mutex mutex;  // guards kept
    static std::vector<std::string> kept;
    const std::lock_guard lock(mutex);
    kept.emplace_back(mib << 20, 'x');
  }
  static std::optional<CK_MECHANISM_TYPE> Mechanism(Args... args) {
    if constexpr (kFunction == "C_Sign") return OfSign(args...);
    if constexpr (kFunction == "C_GetMechanismInfo") return OfSlot(args...);
    if constexpr (kFunction == "C_SignInit" || kFunction == "C_GenerateKeyPair" || kFunction == "C_UnwrapKey" ||
                  kFunction == "C_DecryptInit") {
      return OfBegin(args...);
    }
    return std::nullopt;
  }
  static std::optional<CK_MECHANISM_TYPE> OfSign(CK_SESSION_HANDLE session, ...) { return MechanismOf(session); }
  static std::optional<CK_MECHANISM_TYPE> OfSlot(CK_SLOT_ID, CK_MECHANISM_TYPE type, ...) { return type; }
  static std::optional<CK_MECHANISM_TYPE> OfBegin(CK_SESSION_HANDLE, const CK_MECHANISM* mechanism, ...) {
    return mechanism->mechanism;
  }

  static CK_RV Pass(Args... args) {
    if constexpr (kOfModule) {
      return Note((real.*Member)(args...), args...);
    } else {
      const auto now = Place().Look(real);
      return Note(PassTo(now, args...), args...);
    }
  }

  static CK_RV PassTo(const TokenPlace::Now& now, Args... args) {
    if constexpr (kFunction == "C_GetSlotList") {
      return ListSlots(now, args...);
    } else if constexpr (kOfSlot) {
      return CallSlot<Member>(now, args...);
    } else {
      return now.absent ? CKR_DEVICE_REMOVED : (real.*Member)(args...);
    }
  }

  static CK_RV Note(CK_RV value, Args... args) {
    if (value != CKR_OK) return value;
    if constexpr (kFunction == "C_SignInit") NoteKeyHandle(args...);
    if constexpr (kFunction == "C_Sign") NoteSignature(value, args...);
    if constexpr (kFunction == "C_OpenSession") CountOpenedSession();
    if constexpr (kFunction == "C_CloseSession") CountClosedSession();
    if constexpr (kFunction == "C_CloseAllSessions" || kFunction == "C_Finalize") CountNoSession();
    return value;
  }

  static CK_RV Change(const Action& action, CK_RV value, Args... args) {
    if (value != CKR_OK) return value;
    bool changed = false;
    if constexpr (kFunction == "C_Sign") changed = ChangeSignature(action, args...);
    if constexpr (kFunction == "C_GetTokenInfo") changed = ChangeTokenInfo(action, args...);
    if constexpr (kFunction == "C_Decrypt" || kFunction == "C_FindObjects" || kFunction == "C_GetSlotList" ||
                  kFunction == "C_GetAttributeValue") {
      changed = ChangeLength(action, args...);
    }
    if (changed) action.Done();
    return value;
  }

  static CK_RV PassWithOtherKey(const Action& action, Args... args) {
    if constexpr (kFunction == "C_SignInit") {
      return [&](CK_SESSION_HANDLE session, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
        const CK_OBJECT_HANDLE other = OtherKeyHandle(mechanism->mechanism, key);
        const CK_RV value = Pass(session, mechanism, other);
        if (value == CKR_OK && other != key) action.Done();
        return value;
      }(args...);
    } else {
      return Pass(args...);
    }
  }

  static bool LogOut(CK_SESSION_HANDLE session, ...) { return real.C_Logout(session) == CKR_OK; }
  static bool LogOut(...) { return false; }
};

#define FAULTY_WRAP(name)           \
  constexpr char k##name[] = #name; \
  void Wrap##name() { shown.name = &Wrapped<&CK_FUNCTION_LIST::name, k##name>::Call; }
FAULTY_FUNCTIONS(FAULTY_WRAP)
#undef FAULTY_WRAP

bool SimulateIfAsked() {
  const char* wanted = std::getenv("FAULTY_PKCS11_SIMULATE");
  if (wanted == nullptr) return true;
  const auto profile = ParseProfile(wanted);
  if (!profile) {
    std::fprintf(stderr, "faulty_pkcs11: FAULTY_PKCS11_SIMULATE is not understood\n");
    return false;
  }
  Simulate(*profile, real);
  return true;
}

bool LoadReal() {
  const char* path = std::getenv("FAULTY_PKCS11_MODULE");
  void* library = path == nullptr ? nullptr : ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "faulty_pkcs11: cannot load the module that FAULTY_PKCS11_MODULE names\n");
    return false;
  }
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* list = nullptr;
  if (get == nullptr || get(&list) != CKR_OK) return false;
  real = *list;
  if (!SimulateIfAsked()) return false;
  shown = real;
#define FAULTY_CALL_WRAP(name) Wrap##name();
  FAULTY_FUNCTIONS(FAULTY_CALL_WRAP)
#undef FAULTY_CALL_WRAP
  return true;
}

// Rules of C_GetFunctionList are about loading: they may refuse it, end the process, make it take long or for ever.
CK_RV ObeyAtLoad() {
  const auto action = ActionFor("C_GetFunctionList", 1);
  return action ? ObeyInstead(*action).value_or(CKR_OK) : CKR_OK;
}

}  // namespace
}  // namespace faulty

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  static const bool loaded = faulty::LoadReal();
  if (!loaded) return CKR_GENERAL_ERROR;
  const CK_RV value = faulty::ObeyAtLoad();
  *list = &faulty::shown;
  return value;
}
