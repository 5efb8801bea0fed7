#include "hsm/pkcs11/private_part.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "hsm/pkcs11/public_part.h"

namespace hallmark::pkcs11 {
namespace {

constexpr std::size_t kSecretOctets = 32;
constexpr std::size_t kSeedOctets = 32;
constexpr std::size_t kWrapBlock = 8;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// Nothing of what OpenSSL says goes into the sentence: it is about a secret.
Error Broken(const char* what) {
  ERR_clear_error();
  return MakeError(Reason::kInvalidArgument, what);
}

// A number of the key, as the attribute wants it.
struct Number {
  const char* name;
  CK_ATTRIBUTE_TYPE type;
};
constexpr Number kRsaNumbers[] = {
    {OSSL_PKEY_PARAM_RSA_N, CKA_MODULUS},
    {OSSL_PKEY_PARAM_RSA_E, CKA_PUBLIC_EXPONENT},
    {OSSL_PKEY_PARAM_RSA_D, CKA_PRIVATE_EXPONENT},
    {OSSL_PKEY_PARAM_RSA_FACTOR1, CKA_PRIME_1},
    {OSSL_PKEY_PARAM_RSA_FACTOR2, CKA_PRIME_2},
    {OSSL_PKEY_PARAM_RSA_EXPONENT1, CKA_EXPONENT_1},
    {OSSL_PKEY_PARAM_RSA_EXPONENT2, CKA_EXPONENT_2},
    {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, CKA_COEFFICIENT},
};

Status AddRsaNumbers(const EVP_PKEY* key, PrivatePart& part) {
  for (const Number& number : kRsaNumbers) {
    BIGNUM* raw = nullptr;
    const bool got = EVP_PKEY_get_bn_param(key, number.name, &raw) == 1;
    const std::unique_ptr<BIGNUM, decltype(&BN_clear_free)> owner(raw, &BN_clear_free);
    if (!got) return Broken("the RSA private key lacks one of its numbers");
    WipedBytes octets(static_cast<std::size_t>(BN_num_bytes(raw)));
    BN_bn2bin(raw, octets.data());
    part.values.emplace_back(number.type, std::move(octets));
  }
  return Ok();
}

Status AddSeed(const EVP_PKEY* key, PrivatePart& part) {
  WipedBytes seed(kSeedOctets);
  std::size_t size = seed.size();
  if (EVP_PKEY_get_raw_private_key(key, seed.data(), &size) != 1 || size != kSeedOctets) {
    return Broken("the Ed25519 private key is not 32 octets");
  }
  part.values.emplace_back(CKA_VALUE, std::move(seed));
  return Ok();
}

}  // namespace

WipedBytes::~WipedBytes() { OPENSSL_cleanse(octets_.data(), octets_.capacity()); }

void OwnWrappingPair::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Result<PrivatePart> ParsePkcs8(ByteView der) {
  const std::uint8_t* at = der.data();
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(
      d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, static_cast<long>(der.size())), &PKCS8_PRIV_KEY_INFO_free);
  if (info == nullptr || at != der.data() + der.size()) return Broken("what was wrapped is no PKCS#8 private key");
  const Key key(EVP_PKCS82PKEY(info.get()), &EVP_PKEY_free);
  if (key == nullptr) return Broken("what was wrapped is no private key");
  PrivatePart part;
  const bool rsa = EVP_PKEY_is_a(key.get(), "RSA") == 1;
  if (!rsa && EVP_PKEY_is_a(key.get(), "ED25519") != 1) return Broken("the private key is neither RSA nor Ed25519");
  part.type = rsa ? KeyType::kRsa : KeyType::kEd25519;
  auto spki = SpkiOf(key.get());
  if (!spki) return spki.error();
  part.spki = std::move(*spki);
  const Status added = rsa ? AddRsaNumbers(key.get(), part) : AddSeed(key.get(), part);
  if (!added) return added.error();
  return part;
}

Result<OwnWrappingPair> OwnWrappingPair::Generate() {
  OwnWrappingPair pair(std::unique_ptr<evp_pkey_st, Free>(
      EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(kWrappingBits))));
  auto spki = SpkiOf(pair.key_.get());
  if (!spki) return MakeError(Reason::kInternal, "cannot make a key pair for the import");
  pair.spki_ = std::move(*spki);
  return pair;
}

Result<WipedBytes> OwnWrappingPair::Decrypt(ByteView wrapped) const {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr), &EVP_PKEY_CTX_free);
  WipedBytes out(static_cast<std::size_t>(EVP_PKEY_get_size(key_.get())));
  std::size_t size = out.size();
  if (context == nullptr || EVP_PKEY_decrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md_name(context.get(), "SHA1", nullptr) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md_name(context.get(), "SHA1", nullptr) != 1 ||
      EVP_PKEY_decrypt(context.get(), out.data(), &size, wrapped.data(), wrapped.size()) != 1) {
    return Broken("the secret of the import was not encrypted to this wrapping key");
  }
  out.Shrink(size);
  return out;
}

Result<WipedBytes> UnwrapWithSecret(ByteView secret, ByteView wrapped) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                &EVP_CIPHER_CTX_free);
  const std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> cipher(
      EVP_CIPHER_fetch(nullptr, "AES-256-WRAP-PAD", nullptr), &EVP_CIPHER_free);
  if (secret.size() != kSecretOctets) return Broken("the secret of the import is not 32 octets");
  if (context == nullptr || cipher == nullptr) return MakeError(Reason::kInternal, "OpenSSL lacks AES key wrap");
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  WipedBytes out(wrapped.size() + kWrapBlock);
  int size = 0, more = 0;
  if (EVP_DecryptInit_ex2(context.get(), cipher.get(), secret.data(), nullptr, nullptr) != 1 ||
      EVP_DecryptUpdate(context.get(), out.data(), &size, wrapped.data(), static_cast<int>(wrapped.size())) != 1 ||
      size <= 0 || EVP_DecryptFinal_ex(context.get(), out.data() + size, &more) != 1) {
    return Broken("the private key does not unwrap: it was changed on its way, or wrapped with another secret");
  }
  out.Shrink(static_cast<std::size_t>(size) + static_cast<std::size_t>(more));
  return out;
}

}  // namespace hallmark::pkcs11
