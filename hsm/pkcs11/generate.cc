#include <array>

#include "hsm/pkcs11/key_template.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::pkcs11 {
namespace {

constexpr std::array<std::uint8_t, 3> kRsaExponent = {0x01, 0x00, 0x01};

}  // namespace

Result<KeyPair> Session::Generate(KeyType type, unsigned bits, ByteView cka_id, const std::string& label) {
  if (type == KeyType::kRsa && bits != 2048 && bits != 3072 && bits != 4096) {
    return MakeError(Reason::kInvalidArgument,
                     "an RSA key of " + std::to_string(bits) + " bits: expected 2048, 3072 or 4096");
  }
  const auto present = FindObjects(CKO_PRIVATE_KEY, cka_id);
  if (!present) return present.error();
  if (!present->empty()) return MakeError(Reason::kTokenRefused, "the token has a key with this CKA_ID already");

  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  const auto generate = [&](CK_MECHANISM_TYPE mechanism_type, Template public_template) {
    CK_MECHANISM mechanism{mechanism_type, nullptr, 0};
    Template private_template = PrivateTemplate(cka_id, label);
    return (*module_)->C_GenerateKeyPair(handle_, &mechanism, public_template.data(), public_template.size(),
                                         private_template.data(), private_template.size(), &public_key, &private_key);
  };
  CK_RV value = CKR_OK;
  Template wanted = PublicTemplate(cka_id, label);
  if (type == KeyType::kRsa) {
    CK_ULONG modulus_bits = bits;
    wanted.Add(CKA_MODULUS_BITS, modulus_bits);
    wanted.Add(CKA_PUBLIC_EXPONENT, ByteView(kRsaExponent));
    value = generate(CKM_RSA_PKCS_KEY_PAIR_GEN, wanted);
  } else {
    Template other = wanted;
    wanted.Add(CKA_EC_PARAMS, ByteView(kCurveName));
    value = generate(CKM_EC_EDWARDS_KEY_PAIR_GEN, wanted);
    if (!IsOk(value) && MakeTokenError(value, "").reason == Reason::kTokenRefused) {
      other.Add(CKA_EC_PARAMS, ByteView(kCurveOid));
      value = generate(CKM_EC_EDWARDS_KEY_PAIR_GEN, other);
    }
  }
  if (!IsOk(value)) return Fail(value, "C_GenerateKeyPair");
  auto made = Find(cka_id);
  if (made && made->sensitive && !made->extractable) return made;
  // A key that nobody knows, or that can be taken out, must not stay.
  (*module_)->C_DestroyObject(handle_, private_key);
  (*module_)->C_DestroyObject(handle_, public_key);
  if (!made) return made;
  return MakeError(Reason::kTokenRefused, "the token made a key that can be taken out of it");
}

}  // namespace hallmark::pkcs11
