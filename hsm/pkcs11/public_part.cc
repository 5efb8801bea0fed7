#include "hsm/pkcs11/public_part.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
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

Result<Bytes> Spki(const EVP_PKEY* key) {
  std::uint8_t* der = nullptr;
  const int size = key == nullptr ? 0 : i2d_PUBKEY(key, &der);
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owner(der, [](void* memory) { OPENSSL_free(memory); });
  if (size <= 0) return Unusable();
  return Bytes(der, der + size);
}

}  // namespace

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
  return Spki(key.get());
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
  return Spki(key.get());
}

unsigned BitsOf(ByteView spki) {
  const std::uint8_t* at = spki.data();
  const Key key(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())), &EVP_PKEY_free);
  if (key == nullptr) {
    ERR_clear_error();
    return 0;
  }
  return static_cast<unsigned>(EVP_PKEY_get_bits(key.get()));
}

}  // namespace hallmark::pkcs11
