#include "hsm/pkcs11/module.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#include <optional>

#include "hsm/pkcs11/return_value.h"

namespace hallmark::pkcs11 {
namespace {

// PKCS#11 pads its strings with blanks.
template <std::size_t N>
std::string Unpad(const unsigned char (&padded)[N]) {
  std::string text(reinterpret_cast<const char*>(padded), N);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.pop_back();
  return text;
}

// No module has nearly as many slots: a larger number is not believed, let alone allocated.
constexpr CK_ULONG kMostSlots = 4096;

std::string PinRefusal(CK_FLAGS flags) {
  if ((flags & CKF_USER_PIN_LOCKED) != 0) return "the token's PIN is locked: unlock it as security officer";
  if ((flags & CKF_USER_PIN_FINAL_TRY) != 0) return "one more wrong PIN would lock the token: log in once by hand";
  if ((flags & CKF_USER_PIN_TO_BE_CHANGED) != 0) return "the token wants its PIN changed first";
  return "";
}

// Once for each login: some modules log an error when they are asked about what they do not have.
void AskMechanisms(CK_FUNCTION_LIST* functions, TokenInfo& token) {
  CK_MECHANISM_INFO mechanism{};
  const auto has_not = [&](CK_MECHANISM_TYPE type) {
    return IsMechanismInvalid(functions->C_GetMechanismInfo(token.slot, type, &mechanism));
  };
  token.makes_no_rsa = has_not(CKM_RSA_PKCS_KEY_PAIR_GEN);
  token.makes_no_ed25519 = has_not(CKM_EC_EDWARDS_KEY_PAIR_GEN);
  token.rsa_pkcs =
      IsOk(functions->C_GetMechanismInfo(token.slot, CKM_RSA_PKCS, &mechanism)) && (mechanism.flags & CKF_SIGN) != 0;
}

}  // namespace

Result<std::unique_ptr<Module>> Module::Load(const std::filesystem::path& path) {
  // Unmanaged: the functions of the library itself, without p11-kit's own layer in between.
  CK_FUNCTION_LIST* functions = p11_kit_module_load(path.c_str(), P11_KIT_MODULE_UNMANAGED | P11_KIT_MODULE_CRITICAL);
  if (functions == nullptr) {
    const char* message = p11_kit_message();
    return MakeError(Reason::kTokenDown,
                     path.string() + ": cannot load the module: " + (message == nullptr ? "" : message));
  }
  return std::unique_ptr<Module>(new Module(functions));
}

Module::~Module() {
  Finalize();
  p11_kit_module_release(functions_);
}

Status Module::Initialize() {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  const CK_RV value = functions_->C_Initialize(&arguments);
  if (!IsOk(value)) return MakeTokenError(value, "C_Initialize");
  alive_ = std::make_shared<std::atomic<bool>>(true);
  CK_INFO info{};
  signs_by_decrypting_ = IsOk(functions_->C_GetInfo(&info)) && Unpad(info.manufacturerID) == "tpm2-software.github.io";
  return Ok();
}

void Module::Finalize() {
  if (alive_ == nullptr) return;
  alive_->store(false);
  alive_.reset();
  functions_->C_Finalize(nullptr);
}

void Module::CloseAllSessions(CK_SLOT_ID slot) {
  if (alive_ == nullptr) return;
  alive_->store(false);
  alive_ = std::make_shared<std::atomic<bool>>(true);
  functions_->C_CloseAllSessions(slot);
}

Result<std::vector<CK_SLOT_ID>> Module::SlotsWithToken() const {
  CK_ULONG count = 0;
  CK_RV value = functions_->C_GetSlotList(CK_TRUE, nullptr, &count);
  if (IsOk(value) && count > kMostSlots) value = CKR_FUNCTION_FAILED;
  if (!IsOk(value)) return MakeTokenError(value, "C_GetSlotList");
  std::vector<CK_SLOT_ID> slots(count + 8);  // some may have come since
  count = slots.size();
  value = functions_->C_GetSlotList(CK_TRUE, slots.data(), &count);
  if (IsOk(value) && count > slots.size()) value = CKR_FUNCTION_FAILED;
  if (!IsOk(value)) return MakeTokenError(value, "C_GetSlotList");
  slots.resize(count);
  return slots;
}

Result<TokenInfo> Module::FindToken(const TokenUri& uri) const {
  const auto slots = SlotsWithToken();
  if (!slots) return slots.error();
  std::optional<CK_SLOT_ID> found;
  for (const CK_SLOT_ID slot : *slots) {
    CK_TOKEN_INFO info{};
    if (!IsOk(functions_->C_GetTokenInfo(slot, &info)) || (info.flags & CKF_TOKEN_INITIALIZED) == 0 ||
        !uri.Matches(info))
      continue;
    if (found) return MakeError(Reason::kConfigInvalid, uri.name() + " names several tokens: add serial= to it");
    found = slot;
  }
  if (found) {
    auto token = Describe(*found);
    if (token) AskMechanisms(functions_, *token);
    return token;
  }
  return MakeError(Reason::kNotFound, "the module has no token that " + uri.name() + " names");
}

Result<CK_SLOT_ID> Module::FindEmptySlot() const {
  const auto slots = SlotsWithToken();
  if (!slots) return slots.error();
  for (const CK_SLOT_ID slot : *slots) {
    CK_TOKEN_INFO info{};
    if (IsOk(functions_->C_GetTokenInfo(slot, &info)) && (info.flags & CKF_TOKEN_INITIALIZED) == 0) return slot;
  }
  return MakeError(Reason::kNotFound, "the module has no token that is not initialized yet");
}

Result<TokenInfo> Module::Describe(CK_SLOT_ID slot) const {
  CK_TOKEN_INFO info{};
  const CK_RV value = functions_->C_GetTokenInfo(slot, &info);
  if (!IsOk(value)) return MakeTokenError(value, "C_GetTokenInfo");
  TokenInfo token;
  token.slot = slot;
  token.label = Unpad(info.label);
  token.serial = Unpad(info.serialNumber);
  token.manufacturer = Unpad(info.manufacturerID);
  token.model = Unpad(info.model);
  token.pin_refusal = PinRefusal(info.flags);
  const bool known =
      info.ulMaxSessionCount != CK_EFFECTIVELY_INFINITE && info.ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION;
  token.max_sessions = known ? info.ulMaxSessionCount : 0;
  return token;
}

}  // namespace hallmark::pkcs11
