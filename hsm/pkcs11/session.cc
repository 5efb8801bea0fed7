#include "hsm/pkcs11/session.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>
#include <utility>

#include "hsm/pkcs11/key_template.h"
#include "hsm/pkcs11/public_part.h"
#include "hsm/pkcs11/return_value.h"

namespace hallmark::pkcs11 {
namespace {

// Large enough for RSA-16384: asking for the length first would be a second round trip to the token.
constexpr std::size_t kLargestSignature = 2048;
// No attribute of a key is nearly as long. What a module says beyond these is not believed, let alone allocated.
constexpr CK_ULONG kLargestAttribute = CK_ULONG{64} * 1024;
// In CKA_ALLOWED_MECHANISMS; PKCS#11 3.0 has not many more.
constexpr std::size_t kMostMechanisms = 512;

// DigestInfo of SHA-256 (RFC 8017 section 9.2, note 1), to be followed by the digest.
constexpr std::array<std::uint8_t, 19> kSha256Prefix = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                                        0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
constexpr std::size_t kDigestOctets = 32;

}  // namespace

Result<Session> Session::Open(const Module& module, CK_SLOT_ID slot, Access access) {
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (access == Access::kWrite ? CKF_RW_SESSION : 0);
  CK_RV value = module->C_OpenSession(slot, flags, nullptr, nullptr, &handle);
  // Some tokens know read-write sessions only.
  if (!IsOk(value) && access == Access::kRead) {
    value = module->C_OpenSession(slot, flags | CKF_RW_SESSION, nullptr, nullptr, &handle);
  }
  if (!IsOk(value)) return MakeTokenError(value, "C_OpenSession");
  return Session(module, handle);
}

Session::Session(Session&& other) noexcept
    : module_(other.module_),
      alive_(std::move(other.alive_)),
      handle_(std::exchange(other.handle_, CK_INVALID_HANDLE)),
      usable_(other.usable_) {}

Session::~Session() {
  // After C_Finalize the number may be that of another session.
  if (handle_ != CK_INVALID_HANDLE && alive_->load()) (*module_)->C_CloseSession(handle_);
}

Error Session::Fail(CK_RV value, const char* function) {
  Error error = MakeTokenError(value, function);
  if (RecoveryFor(error) != Recovery::kNone) usable_ = false;
  return error;
}

Status Session::Login(CK_USER_TYPE user, std::string_view pin) {
  const CK_RV value = (*module_)->C_Login(handle_, user, Octets(AsBytes(pin)), pin.size());
  if (IsOk(value) || IsAlreadyLoggedIn(value)) return Ok();
  return Fail(value, "C_Login");
}

Status Session::InitializePin(std::string_view pin) {
  const CK_RV value = (*module_)->C_InitPIN(handle_, Octets(AsBytes(pin)), pin.size());
  return IsOk(value) ? Ok() : Status(Fail(value, "C_InitPIN"));
}

Status Session::CheckLoggedIn() {
  CK_SESSION_INFO info{};
  CK_RV value = (*module_)->C_GetSessionInfo(handle_, &info);
  const bool logged_in = info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS;
  if (IsOk(value) && !logged_in) value = CKR_USER_NOT_LOGGED_IN;
  return IsOk(value) ? Ok() : Status(Fail(value, "C_GetSessionInfo"));
}

Result<Bytes> Session::SignDigest(const KeyPair& key, ByteView digest) {
  if (digest.size() != kDigestOctets) return MakeError(Reason::kInvalidArgument, "a digest that is not 32 octets");
  switch (key.type) {
    case KeyType::kEd25519: return Sign(key, {CKM_EDDSA, nullptr, 0}, digest);
    case KeyType::kRsa: break;
  }
  std::array<std::uint8_t, kSha256Prefix.size() + kDigestOctets> info{};
  std::memcpy(info.data(), kSha256Prefix.data(), kSha256Prefix.size());
  std::memcpy(info.data() + kSha256Prefix.size(), digest.data(), digest.size());
  return Sign(key, {CKM_RSA_PKCS, nullptr, 0}, info);
}

Result<Bytes> Session::SignData(const KeyPair& key, ByteView data) {
  switch (key.type) {
    case KeyType::kEd25519: return Sign(key, {CKM_EDDSA, nullptr, 0}, data);
    case KeyType::kRsa: break;
  }
  return Sign(key, {CKM_SHA256_RSA_PKCS, nullptr, 0}, data);
}

Result<Bytes> Session::Sign(const KeyPair& key, CK_MECHANISM mechanism, ByteView input) {
  CK_RV value = (*module_)->C_SignInit(handle_, &mechanism, key.private_key);
  if (!IsOk(value)) return Fail(value, "C_SignInit");
  Bytes signature(kLargestSignature);
  CK_ULONG size = signature.size();
  value = (*module_)->C_Sign(handle_, Octets(input), input.size(), signature.data(), &size);
  if (IsOk(value) && size > signature.size()) value = CKR_BUFFER_TOO_SMALL;
  if (!IsOk(value)) {
    usable_ = false;  // whatever was said: the operation may still be active
    return MakeTokenError(value, "C_Sign");
  }
  signature.resize(size);
  return signature;
}

Result<std::vector<CK_OBJECT_HANDLE>> Session::FindObjects(CK_OBJECT_CLASS object_class, ByteView cka_id) {
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &object_class, sizeof object_class}, {CKA_ID, Octets(cka_id), cka_id.size()}};
  CK_RV value = (*module_)->C_FindObjectsInit(handle_, wanted, std::size(wanted));
  if (!IsOk(value)) return Fail(value, "C_FindObjectsInit");
  std::vector<CK_OBJECT_HANDLE> found(2);  // one is wanted; two are too many
  CK_ULONG count = 0;
  value = (*module_)->C_FindObjects(handle_, found.data(), found.size(), &count);
  const CK_RV ended = (*module_)->C_FindObjectsFinal(handle_);
  if (IsOk(value) && count > found.size()) value = CKR_FUNCTION_FAILED;
  if (!IsOk(value)) return Fail(value, "C_FindObjects");
  if (!IsOk(ended)) return Fail(ended, "C_FindObjectsFinal");
  found.resize(count);
  if (found.empty() && object_class == CKO_PRIVATE_KEY) {
    // Who is not logged in sees no private objects: a login that was lost must not pass for a key that is gone.
    if (const Status in = CheckLoggedIn(); !in) return in.error();
  }
  return found;
}

Result<Bytes> Session::Attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  CK_RV value = (*module_)->C_GetAttributeValue(handle_, object, &attribute, 1);
  if (!IsOk(value)) return Fail(value, "C_GetAttributeValue");
  if (attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION)
    return MakeTokenError(CKR_ATTRIBUTE_TYPE_INVALID, "C_GetAttributeValue");
  if (attribute.ulValueLen > kLargestAttribute) return Fail(CKR_FUNCTION_FAILED, "C_GetAttributeValue");
  Bytes octets(attribute.ulValueLen);
  attribute.pValue = octets.data();
  value = (*module_)->C_GetAttributeValue(handle_, object, &attribute, 1);
  if (IsOk(value) && attribute.ulValueLen > octets.size()) value = CKR_FUNCTION_FAILED;
  if (!IsOk(value)) return Fail(value, "C_GetAttributeValue");
  octets.resize(attribute.ulValueLen);
  return octets;
}

Result<bool> Session::Flag(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, bool fallback) {
  const auto value = Attribute(object, type);
  if (!value && RecoveryFor(value.error()) != Recovery::kNone) return value.error();
  return value && value->size() == 1 ? value->front() != 0 : fallback;
}

// A module that cannot say what is allowed, or says nothing, is asked when it signs.
bool Session::WantsData(CK_OBJECT_HANDLE private_key) {
  std::array<CK_MECHANISM_TYPE, kMostMechanisms> list{};
  CK_ATTRIBUTE allowed{CKA_ALLOWED_MECHANISMS, list.data(), sizeof list};
  const CK_RV value = (*module_)->C_GetAttributeValue(handle_, private_key, &allowed, 1);
  if (!IsOk(value) || allowed.ulValueLen > sizeof list) return false;
  const auto end = list.begin() + allowed.ulValueLen / sizeof(CK_MECHANISM_TYPE);
  const auto has = [&](CK_MECHANISM_TYPE wanted) { return std::find(list.begin(), end, wanted) != end; };
  return has(CKM_SHA256_RSA_PKCS) && !has(CKM_RSA_PKCS);
}

Result<KeyType> Session::TypeOf(CK_OBJECT_HANDLE object) {
  const auto key_type = Attribute(object, CKA_KEY_TYPE);
  if (!key_type) return key_type.error();
  CK_KEY_TYPE number = 0;
  if (key_type->size() == sizeof number) std::memcpy(&number, key_type->data(), sizeof number);
  if (number == CKK_RSA) return KeyType::kRsa;
  if (number == CKK_EC_EDWARDS) return KeyType::kEd25519;
  return MakeError(Reason::kTokenRefused, "the key is neither RSA nor Ed25519");
}

Result<Bytes> Session::PublicPart(KeyType type, CK_OBJECT_HANDLE object) {
  switch (type) {
    case KeyType::kEd25519: {
      const auto point = Attribute(object, CKA_EC_POINT);
      return point ? Ed25519Spki(*point) : point;
    }
    case KeyType::kRsa: break;
  }
  const auto modulus = Attribute(object, CKA_MODULUS);
  if (!modulus) return modulus;
  const auto exponent = Attribute(object, CKA_PUBLIC_EXPONENT);
  return exponent ? RsaSpki(*modulus, *exponent) : exponent;
}

Result<KeyPair> Session::Find(ByteView cka_id) {
  const auto private_keys = FindObjects(CKO_PRIVATE_KEY, cka_id);
  if (!private_keys) return private_keys.error();
  if (private_keys->empty()) return MakeError(Reason::kKeyMissing, "the token has no private key with this CKA_ID");
  if (private_keys->size() > 1)
    return MakeError(Reason::kTokenRefused, "the token has several private keys with this CKA_ID");
  const auto public_keys = FindObjects(CKO_PUBLIC_KEY, cka_id);
  if (!public_keys) return public_keys.error();
  // An RSA private key knows its public part; an Ed25519 one need not.
  return Describe(private_keys->front(), public_keys->empty() ? private_keys->front() : public_keys->front());
}

Result<KeyPair> Session::Describe(CK_OBJECT_HANDLE private_key, CK_OBJECT_HANDLE public_key) {
  KeyPair key;
  key.private_key = private_key;
  const auto key_type = TypeOf(key.private_key);
  if (!key_type) return key_type.error();
  key.type = *key_type;
  const auto asks_each_time = Flag(key.private_key, CKA_ALWAYS_AUTHENTICATE, false);
  if (!asks_each_time) return asks_each_time.error();
  if (*asks_each_time) {
    return MakeError(Reason::kTokenRefused, "the key wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)");
  }
  key.wants_data = key.type == KeyType::kRsa && WantsData(key.private_key);
  const std::tuple<CK_ATTRIBUTE_TYPE, bool, bool*> flags[] = {{CKA_SENSITIVE, false, &key.sensitive},
                                                              {CKA_EXTRACTABLE, true, &key.extractable},
                                                              {CKA_NEVER_EXTRACTABLE, false, &key.never_extractable}};
  for (const auto& [type, fallback, flag] : flags) {
    const auto value = Flag(key.private_key, type, fallback);
    if (!value) return value.error();
    *flag = *value;
  }
  auto spki = PublicPart(key.type, public_key);
  if (!spki && RecoveryFor(spki.error()) != Recovery::kNone) return spki.error();
  if (!spki)
    return MakeError(Reason::kTokenRefused, "the public part of the key cannot be read: " + spki.error().message);
  key.spki = std::move(*spki);
  key.bits = BitsOf(key.spki);
  return key;
}

}  // namespace hallmark::pkcs11
