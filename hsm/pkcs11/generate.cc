#include <array>

#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::pkcs11 {
namespace {

// The curve of Ed25519 in CKA_EC_PARAMS, as modules spell it: PrintableString "edwards25519" (PKCS#11 3.0), or the
// object identifier 1.3.101.112 (RFC 8410).
constexpr std::array<std::uint8_t, 14> kCurveName = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
                                                     'd',  's',  '2', '5', '5', '1', '9'};
constexpr std::array<std::uint8_t, 5> kCurveOid = {0x06, 0x03, 0x2b, 0x65, 0x70};
constexpr std::array<std::uint8_t, 3> kRsaExponent = {0x01, 0x00, 0x01};

void* Pointer(ByteView view) { return const_cast<std::uint8_t*>(view.data()); }

class Template {
 public:
  void Add(CK_ATTRIBUTE_TYPE type, ByteView value) { attributes_.push_back({type, Pointer(value), value.size()}); }
  void Add(CK_ATTRIBUTE_TYPE type, const CK_BBOOL& value) {
    attributes_.push_back({type, const_cast<CK_BBOOL*>(&value), 1});
  }
  void Add(CK_ATTRIBUTE_TYPE type, CK_ULONG& value) { attributes_.push_back({type, &value, sizeof value}); }
  CK_ATTRIBUTE* data() { return attributes_.data(); }
  CK_ULONG size() const { return attributes_.size(); }

 private:
  std::vector<CK_ATTRIBUTE> attributes_;
};

constexpr CK_BBOOL kTrue = CK_TRUE;
constexpr CK_BBOOL kFalse = CK_FALSE;

Template PrivateTemplate(ByteView cka_id, const std::string& label) {
  Template out;
  out.Add(CKA_TOKEN, kTrue);
  out.Add(CKA_PRIVATE, kTrue);
  out.Add(CKA_SENSITIVE, kTrue);
  out.Add(CKA_EXTRACTABLE, kFalse);
  out.Add(CKA_SIGN, kTrue);
  out.Add(CKA_DECRYPT, kFalse);
  out.Add(CKA_UNWRAP, kFalse);
  out.Add(CKA_ID, cka_id);
  out.Add(CKA_LABEL, AsBytes(label));
  return out;
}

Template PublicTemplate(ByteView cka_id, const std::string& label) {
  Template out;
  out.Add(CKA_TOKEN, kTrue);
  out.Add(CKA_PRIVATE, kFalse);
  out.Add(CKA_VERIFY, kTrue);
  out.Add(CKA_ID, cka_id);
  out.Add(CKA_LABEL, AsBytes(label));
  return out;
}

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
