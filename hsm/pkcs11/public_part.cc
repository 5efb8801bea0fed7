#include "hsm/pkcs11/public_part.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

namespace hallmark::pkcs11 {
namespace {

constexpr std::size_t kEd25519Octets = 32;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Error Unusable() {
  ERR_clear_error();
  return MakeError(Reason::kTokenRefused, "the token's public key makes no sense");
}

Key Parse(ByteView spki) {
  const std::uint8_t* at = spki.data();
  Key key(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())), &EVP_PKEY_free);
  if (key == nullptr) ERR_clear_error();
  return key;
}

}  // namespace

Result<Bytes> SpkiOf(const evp_pkey_st* key) {
  std::uint8_t* der = nullptr;
  const int size = key == nullptr ? 0 : i2d_PUBKEY(key, &der);
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owner(der, [](void* memory) { OPENSSL_free(memory); });
  if (size <= 0) return Unusable();
  return Bytes(der, der + size);
}

Result<Bytes> RsaSpki(ByteView modulus, ByteView exponent) {
  const auto number = [](ByteView octets) {
    return std::unique_ptr<BIGNUM, decltype(&BN_free)>(
        BN_bin2bn(octets.data(), static_cast<int>(octets.size()), nullptr), &BN_free);
  };
  const auto n = number(modulus);
  const auto e = number(exponent);
  const std::unique_ptr<OSSL_PARAM_BLD, decltype(&OSSL_PARAM_BLD_free)> builder(OSSL_PARAM_BLD_new(),
                                                                                &OSSL_PARAM_BLD_free);
  if (n == nullptr || e == nullptr || BN_is_zero(n.get()) || BN_is_zero(e.get()) || builder == nullptr ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
    return Unusable();
  }
  const std::unique_ptr<OSSL_PARAM, decltype(&OSSL_PARAM_free)> parameters(OSSL_PARAM_BLD_to_param(builder.get()),
                                                                           &OSSL_PARAM_free);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr), &EVP_PKEY_CTX_free);
  EVP_PKEY* raw = nullptr;
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) {
    return Unusable();
  }
  const Key key(raw, &EVP_PKEY_free);
  return SpkiOf(key.get());
}

Result<Bytes> Ed25519Spki(ByteView point) {
  if (point.size() == kEd25519Octets + 2 && point[0] == 0x04 && point[1] == kEd25519Octets) {
    point = point.subspan(2);  // OCTET STRING
  } else if (point.size() == kEd25519Octets + 3 && point[0] == 0x03 && point[1] == kEd25519Octets + 1 &&
             point[2] == 0) {
    point = point.subspan(3);  // BIT STRING
  }
  if (point.size() != kEd25519Octets) return Unusable();
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, point.data(), point.size()), &EVP_PKEY_free);
  return SpkiOf(key.get());
}

bool Verifies(ByteView spki, ByteView digest, ByteView signature) {
  const Key key = Parse(spki);
  if (key == nullptr) return false;
  bool good = false;
  if (EVP_PKEY_is_a(key.get(), "ED25519") == 1) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    good = context != nullptr && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
           EVP_DigestVerify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
  } else {
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
        EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr), &EVP_PKEY_CTX_free);
    good = context != nullptr && EVP_PKEY_verify_init(context.get()) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1 &&
           EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
  }
  ERR_clear_error();
  return good;
}

Result<KeyType> KeyTypeOf(ByteView spki) {
  const Key key = Parse(spki);
  if (key != nullptr && EVP_PKEY_is_a(key.get(), "ED25519") == 1) return KeyType::kEd25519;
  if (key != nullptr && EVP_PKEY_is_a(key.get(), "RSA") == 1) return KeyType::kRsa;
  return MakeError(Reason::kInvalidArgument, "the public key is neither RSA nor Ed25519");
}

Result<PublicNumbers> NumbersOf(ByteView spki) {
  const Key key = Parse(spki);
  const auto type = KeyTypeOf(spki);
  if (!type) return type.error();
  PublicNumbers numbers;
  if (*type == KeyType::kEd25519) {
    std::size_t size = kEd25519Octets;
    numbers.point.resize(size);
    if (EVP_PKEY_get_raw_public_key(key.get(), numbers.point.data(), &size) != 1) return Unusable();
    return numbers;
  }
  const auto number = [&](const char* name, Bytes& out) {
    BIGNUM* raw = nullptr;
    const bool got = EVP_PKEY_get_bn_param(key.get(), name, &raw) == 1;
    const std::unique_ptr<BIGNUM, decltype(&BN_free)> owner(raw, &BN_free);
    if (!got) return false;
    out.resize(static_cast<std::size_t>(BN_num_bytes(raw)));
    BN_bn2bin(raw, out.data());
    return true;
  };
  if (!number(OSSL_PKEY_PARAM_RSA_N, numbers.modulus) || !number(OSSL_PKEY_PARAM_RSA_E, numbers.exponent)) {
    return Unusable();
  }
  return numbers;
}

unsigned BitsOf(ByteView spki) {
  const Key key = Parse(spki);
  return key == nullptr ? 0 : static_cast<unsigned>(EVP_PKEY_get_bits(key.get()));
}

}  // namespace hallmark::pkcs11
