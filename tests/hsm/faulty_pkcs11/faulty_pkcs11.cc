#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "rules.h"
#include "simulation.h"

namespace faulty {
namespace {

CK_FUNCTION_LIST real;   // the other module's, or those of the token simulated with it
CK_FUNCTION_LIST shown;  // ours: the same, but for the functions that have rules

// One function of the list, counted and with its rules obeyed.
template <auto Member, const char* kName>
struct Wrapped;

template <class... Args, CK_RV (*CK_FUNCTION_LIST::*Member)(Args...), const char* kName>
struct Wrapped<Member, kName> {
  static CK_RV Call(Args... args) {
    static std::atomic<unsigned long> calls{0};
    const std::string_view name(kName);
    if (name == "C_Login" || name == "C_Initialize") Log(kName);
    const auto action = ActionFor(kName, ++calls);
    if (!action) return (real.*Member)(args...);
    switch (action->kind) {
      case Action::Kind::kReturn: return action->number;
      case Action::Kind::kCrash: std::abort();
      case Action::Kind::kHang:
        Log("hang");
        while (true) ::pause();
      case Action::Kind::kDelay: std::this_thread::sleep_for(std::chrono::milliseconds(action->number)); break;
      case Action::Kind::kFlags: {
        const CK_RV rv = (real.*Member)(args...);
        SetFlags(action->number, args...);
        return rv;
      }
      case Action::Kind::kCorrupt: {
        const CK_RV rv = (real.*Member)(args...);
        Corrupt(args...);
        return rv;
      }
    }
    return (real.*Member)(args...);
  }

 private:
  static void SetFlags(CK_FLAGS flags, CK_SLOT_ID, CK_TOKEN_INFO* info) { info->flags |= flags; }
  template <class... Others>
  static void SetFlags(CK_FLAGS, Others...) {}
  static void Corrupt(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* signature, CK_ULONG* size) {
    if (signature != nullptr && *size > 0) signature[*size / 2] ^= 0x01;
  }
  template <class... Others>
  static void Corrupt(Others...) {}
};

#define FAULTY_FUNCTION(name)       \
  constexpr char k##name[] = #name; \
  void Wrap##name() { shown.name = &Wrapped<&CK_FUNCTION_LIST::name, k##name>::Call; }
FAULTY_FUNCTION(C_Initialize)
FAULTY_FUNCTION(C_Finalize)
FAULTY_FUNCTION(C_GetSlotList)
FAULTY_FUNCTION(C_GetTokenInfo)
FAULTY_FUNCTION(C_GetMechanismInfo)
FAULTY_FUNCTION(C_OpenSession)
FAULTY_FUNCTION(C_CloseSession)
FAULTY_FUNCTION(C_GetSessionInfo)
FAULTY_FUNCTION(C_Login)
FAULTY_FUNCTION(C_FindObjectsInit)
FAULTY_FUNCTION(C_FindObjects)
FAULTY_FUNCTION(C_FindObjectsFinal)
FAULTY_FUNCTION(C_GetAttributeValue)
FAULTY_FUNCTION(C_GenerateKeyPair)
FAULTY_FUNCTION(C_CreateObject)
FAULTY_FUNCTION(C_DestroyObject)
FAULTY_FUNCTION(C_UnwrapKey)
FAULTY_FUNCTION(C_SignInit)
FAULTY_FUNCTION(C_Sign)
#undef FAULTY_FUNCTION

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
  for (auto* wrap :
       {&WrapC_Initialize, &WrapC_Finalize, &WrapC_GetSlotList, &WrapC_GetTokenInfo, &WrapC_GetMechanismInfo,
        &WrapC_OpenSession, &WrapC_CloseSession, &WrapC_GetSessionInfo, &WrapC_Login, &WrapC_FindObjectsInit,
        &WrapC_FindObjects, &WrapC_FindObjectsFinal, &WrapC_GetAttributeValue, &WrapC_GenerateKeyPair,
        &WrapC_CreateObject, &WrapC_DestroyObject, &WrapC_UnwrapKey, &WrapC_SignInit, &WrapC_Sign}) {
    wrap();
  }
  return true;
}

}  // namespace
}  // namespace faulty

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  static const bool loaded = faulty::LoadReal();
  if (!loaded) return CKR_GENERAL_ERROR;
  *list = &faulty::shown;
  return CKR_OK;
}
