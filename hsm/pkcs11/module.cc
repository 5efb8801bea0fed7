#include "hsm/pkcs11/module.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "firmware/runtime/encoding.h"
#include "hsm/pkcs11/return_value.h"

namespace hallmark::pkcs11 {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// C0, DEL, and C1, which UTF-8 writes in two octets.
bool IsControl(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  return first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0);
}

// PKCS#11 pads its strings with blanks, and wants UTF-8. They go into messages, tables and the log: what is not
// UTF-8, or would do something to a terminal, is replaced.
template <std::size_t N>
std::string Unpad(const unsigned char (&padded)[N]) {
  std::string_view rest(reinterpret_cast<const char*>(padded), N);
  while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\0')) rest.remove_suffix(1);
  std::string text;
  while (!rest.empty()) {
    const std::size_t octets = Utf8Octets(rest);
    const std::string_view character = rest.substr(0, octets);
    text += octets == 0 || IsControl(character) ? kReplacement : character;
    rest.remove_prefix(std::max<std::size_t>(octets, 1));
  }
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

// Once for each login: some modules log an error when they are asked about what they do not have. An error that is no
// answer must not decide for the whole login how it signs.
Status AskMechanisms(CK_FUNCTION_LIST* functions, TokenInfo& token) {
  CK_MECHANISM_INFO mechanism{};
  const auto has_not = [&](CK_MECHANISM_TYPE type) {
    return IsMechanismInvalid(functions->C_GetMechanismInfo(token.slot, type, &mechanism));
  };
  token.makes_no_rsa = has_not(CKM_RSA_PKCS_KEY_PAIR_GEN);
  token.makes_no_ed25519 = has_not(CKM_EC_EDWARDS_KEY_PAIR_GEN);
  const CK_RV value = functions->C_GetMechanismInfo(token.slot, CKM_RSA_PKCS, &mechanism);
  token.rsa_pkcs = IsFunctionNotSupported(value) || (IsOk(value) && (mechanism.flags & CKF_SIGN) != 0);
  const bool answered = IsOk(value) || IsMechanismInvalid(value) || IsFunctionNotSupported(value);
  return answered ? Ok() : Status(MakeTokenError(value, "C_GetMechanismInfo"));
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
  std::optional<Error> in_trouble;  // the first slot that does not say which token it has: perhaps this one
  for (const CK_SLOT_ID slot : *slots) {
    CK_TOKEN_INFO info{};
    const CK_RV value = functions_->C_GetTokenInfo(slot, &info);
    if (!IsOk(value) && !IsAbsence(value) && !in_trouble) in_trouble = MakeTokenError(value, "C_GetTokenInfo");
    if (!IsOk(value) || (info.flags & CKF_TOKEN_INITIALIZED) == 0 || !uri.Matches(info)) continue;
    if (found) return MakeError(Reason::kConfigInvalid, uri.name() + " names several tokens: add serial= to it");
    found = slot;
  }
  if (found) {
    auto token = Describe(*found);
    if (!token) return token;
    const Status asked = AskMechanisms(functions_, *token);
    return asked ? token : asked.error();
  }
  if (in_trouble) return *in_trouble;
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
