#include <openssl/sha.h>

#include "hsm/pkcs11/key_template.h"
#include "hsm/pkcs11/private_part.h"
#include "hsm/pkcs11/public_part.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::pkcs11 {
namespace {

constexpr CK_OBJECT_CLASS kPrivateKey = CKO_PRIVATE_KEY, kPublicKey = CKO_PUBLIC_KEY, kSecretKey = CKO_SECRET_KEY;
constexpr CK_KEY_TYPE kAesType = CKK_AES;

// SHA-1 here only spreads what it is given (OAEP does not rest on its collision resistance); no token lacks it.
CK_RSA_PKCS_OAEP_PARAMS OaepParameters() { return {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0}; }

// What is wrapped comes from outside, and modules answer octets that do not unwrap with anything, CKR_GENERAL_ERROR
// among it (SoftHSM 2.6). It says nothing about the token, so no recovery may come of it: no CK_RV, but its name.
Error Refusal(CK_RV value, const char* function) {
  return MakeError(Reason::kTokenRefused, std::string(function) + ": " + NameOf(value));
}

}  // namespace

Result<WrappingPair> Session::GenerateWrappingPair() {
  const CK_ULONG bits = kWrappingBits;
  Template public_template, private_template;
  public_template.Add(CKA_TOKEN, kFalse);
  public_template.Add(CKA_ENCRYPT, kTrue);
  public_template.Add(CKA_WRAP, kTrue);
  public_template.Add(CKA_MODULUS_BITS, bits);
  public_template.Add(CKA_PUBLIC_EXPONENT, ByteView(kRsaExponent));
  private_template.Add(CKA_TOKEN, kFalse);
  private_template.Add(CKA_PRIVATE, kTrue);
  private_template.Add(CKA_SENSITIVE, kTrue);
  private_template.Add(CKA_EXTRACTABLE, kFalse);
  private_template.Add(CKA_DECRYPT, kTrue);
  private_template.Add(CKA_UNWRAP, kTrue);
  CK_MECHANISM mechanism{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  const CK_RV value =
      (*module_)->C_GenerateKeyPair(handle_, &mechanism, public_template.data(), public_template.size(),
                                    private_template.data(), private_template.size(), &public_key, &private_key);
  if (!IsOk(value)) return Fail(value, "C_GenerateKeyPair");
  auto spki = PublicPart(KeyType::kRsa, public_key);
  if (!spki) return spki.error();
  return WrappingPair{private_key, std::move(*spki)};
}

Status Session::UnwrapPrivateKey(const WrappingPair& pair, const WrappedKey& wrapped, KeyType type,
                                 const ObjectName& name) {
  CK_RSA_PKCS_OAEP_PARAMS oaep = OaepParameters();
  CK_MECHANISM unwrap_secret{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
  Template secret_template;
  secret_template.Add(CKA_CLASS, kSecretKey);
  secret_template.Add(CKA_KEY_TYPE, kAesType);
  secret_template.Add(CKA_TOKEN, kFalse);
  secret_template.Add(CKA_PRIVATE, kTrue);
  secret_template.Add(CKA_SENSITIVE, kTrue);
  secret_template.Add(CKA_EXTRACTABLE, kFalse);
  secret_template.Add(CKA_UNWRAP, kTrue);
  CK_OBJECT_HANDLE secret = 0;
  CK_RV value = (*module_)->C_UnwrapKey(handle_, &unwrap_secret, pair.private_key, Octets(wrapped.secret),
                                        wrapped.secret.size(), secret_template.data(), secret_template.size(), &secret);
  if (!IsOk(value)) return Refusal(value, "C_UnwrapKey");

  CK_MECHANISM unwrap_key{CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  Template key_template = PrivateTemplate(name.cka_id, name.label);
  key_template.Add(CKA_CLASS, kPrivateKey);
  key_template.Add(CKA_KEY_TYPE, NumberOf(type));
  CK_OBJECT_HANDLE key = 0;
  value = (*module_)->C_UnwrapKey(handle_, &unwrap_key, secret, Octets(wrapped.key), wrapped.key.size(),
                                  key_template.data(), key_template.size(), &key);
  // Where the handles are gone with the login this one may be another object's; the secret goes with its session.
  const Recovery recovery = RecoveryFor(MakeTokenError(value, "C_UnwrapKey"));
  if (recovery != Recovery::kLogin && recovery != Recovery::kModule) (*module_)->C_DestroyObject(handle_, secret);
  return IsOk(value) ? Ok() : Status(Refusal(value, "C_UnwrapKey"));
}

Result<WipedBytes> Session::DecryptSecret(const WrappingPair& pair, const WrappedKey& wrapped) {
  CK_RSA_PKCS_OAEP_PARAMS oaep = OaepParameters();
  CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
  CK_RV value = (*module_)->C_DecryptInit(handle_, &mechanism, pair.private_key);
  if (!IsOk(value)) return Fail(value, "C_DecryptInit");
  WipedBytes out(kWrappingBits / 8);
  CK_ULONG size = out.size();
  value = (*module_)->C_Decrypt(handle_, Octets(wrapped.secret), wrapped.secret.size(), out.data(), &size);
  if (IsOk(value) && size > out.size()) value = CKR_BUFFER_TOO_SMALL;
  if (!IsOk(value)) return Refusal(value, "C_Decrypt");
  out.Shrink(size);
  return out;
}

Status Session::CreatePrivateKey(const PrivatePart& part, const ObjectName& name) {
  const auto create = [&](ByteView curve) {
    Template wanted = PrivateTemplate(name.cka_id, name.label);
    wanted.Add(CKA_CLASS, kPrivateKey);
    wanted.Add(CKA_KEY_TYPE, NumberOf(part.type));
    if (part.type == KeyType::kEd25519) wanted.Add(CKA_EC_PARAMS, curve);
    for (const auto& [type, value] : part.values) wanted.Add(type, value.view());
    CK_OBJECT_HANDLE made = 0;
    return (*module_)->C_CreateObject(handle_, wanted.data(), wanted.size(), &made);
  };
  CK_RV value = CKR_OK;
  for (const ByteView curve : kCurveSpellings) {
    value = create(curve);
    if (IsOk(value) || part.type != KeyType::kEd25519) break;
  }
  return IsOk(value) ? Ok() : Status(Fail(value, "C_CreateObject"));
}

Status Session::CreatePublicKey(ByteView spki, const ObjectName& name) {
  const auto type = KeyTypeOf(spki);
  if (!type) return type.error();
  const auto numbers = NumbersOf(spki);
  if (!numbers) return numbers.error();
  // CKA_EC_POINT is an OCTET STRING in DER by the book, the octets themselves with some modules.
  Bytes point = {0x04, static_cast<std::uint8_t>(numbers->point.size())};
  point.insert(point.end(), numbers->point.begin(), numbers->point.end());
  const auto create = [&](ByteView curve, ByteView ec_point) {
    Template wanted = PublicTemplate(name.cka_id, name.label);
    wanted.Add(CKA_CLASS, kPublicKey);
    wanted.Add(CKA_KEY_TYPE, NumberOf(*type));
    switch (*type) {
      case KeyType::kEd25519:
        wanted.Add(CKA_EC_PARAMS, curve);
        wanted.Add(CKA_EC_POINT, ec_point);
        break;
      case KeyType::kRsa:
        wanted.Add(CKA_MODULUS, ByteView(numbers->modulus));
        wanted.Add(CKA_PUBLIC_EXPONENT, ByteView(numbers->exponent));
        break;
    }
    CK_OBJECT_HANDLE made = 0;
    return (*module_)->C_CreateObject(handle_, wanted.data(), wanted.size(), &made);
  };
  CK_RV value = CKR_OK;
  for (const ByteView ec_point : {ByteView(point), ByteView(numbers->point)}) {
    for (const ByteView curve : kCurveSpellings) {
      value = create(curve, ec_point);
      if (IsOk(value) || *type != KeyType::kEd25519) return IsOk(value) ? Ok() : Status(Fail(value, "C_CreateObject"));
    }
  }
  return IsOk(value) ? Ok() : Status(Fail(value, "C_CreateObject"));
}

Status Session::Prove(const KeyPair& key, bool data) {
  constexpr std::string_view kText = "Hallmark: can this key sign?";
  Bytes digest(SHA256_DIGEST_LENGTH);
  SHA256(AsBytes(kText).data(), kText.size(), digest.data());
  const bool by_data = key.type == KeyType::kRsa && (data || key.wants_data);
  const auto signature = by_data ? SignData(key, AsBytes(kText)) : SignDigest(key, digest);
  if (!signature) return signature.error();
  if (Verifies(key.spki, digest, *signature)) return Ok();
  return MakeError(Reason::kKeyMismatch, "the private key is not that of the public key");
}

Status Session::CheckFree(ByteView cka_id) {
  for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
    const auto found = FindObjects(object_class, cka_id);
    if (!found) return found.error();
    if (!found->empty()) return MakeError(Reason::kTokenRefused, "the token has a key with this CKA_ID already");
  }
  return Ok();
}

Status Session::DestroyAll(ByteView cka_id) {
  for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
    const auto found = FindObjects(object_class, cka_id);
    if (!found) return found.error();
    for (const CK_OBJECT_HANDLE object : *found) {
      const CK_RV value = (*module_)->C_DestroyObject(handle_, object);
      if (!IsOk(value)) return Fail(value, "C_DestroyObject");
    }
  }
  return Ok();
}

}  // namespace hallmark::pkcs11
