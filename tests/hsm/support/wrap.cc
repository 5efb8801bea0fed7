#include "tests/hsm/support/wrap.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <memory>
#include <stdexcept>

namespace hallmark::test {
namespace {

void Insist(bool condition) {
  if (!condition) throw std::runtime_error("OpenSSL failed in a test");
}

}  // namespace

LooseKey MakeLooseKey(const std::string& algorithm, unsigned bits) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      bits == 0 ? EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm.c_str())
                : EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm.c_str(), static_cast<std::size_t>(bits)),
      &EVP_PKEY_free);
  const std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(EVP_PKEY2PKCS8(key.get()),
                                                                                       &PKCS8_PRIV_KEY_INFO_free);
  std::uint8_t *pkcs8 = nullptr, *spki = nullptr;
  const int pkcs8_size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), &pkcs8);
  const int spki_size = i2d_PUBKEY(key.get(), &spki);
  Insist(pkcs8_size > 0 && spki_size > 0);
  LooseKey out{Bytes(pkcs8, pkcs8 + pkcs8_size), Bytes(spki, spki + spki_size)};
  OPENSSL_free(pkcs8);
  OPENSSL_free(spki);
  return out;
}

Wrapped WrapFor(ByteView wrapping_key, ByteView key) {
  Wrapped out;
  out.wrapping_key_sha256.resize(SHA256_DIGEST_LENGTH);
  SHA256(wrapping_key.data(), wrapping_key.size(), out.wrapping_key_sha256.data());
  Bytes secret(32);
  Insist(RAND_bytes(secret.data(), static_cast<int>(secret.size())) == 1);

  const std::uint8_t* at = wrapping_key.data();
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> rsa(
      d2i_PUBKEY(nullptr, &at, static_cast<long>(wrapping_key.size())), &EVP_PKEY_free);
  Insist(rsa != nullptr);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(rsa.get(), nullptr),
                                                                            &EVP_PKEY_CTX_free);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(rsa.get()));
  out.secret.resize(size);
  Insist(EVP_PKEY_encrypt_init(context.get()) == 1 &&
         EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1 &&
         EVP_PKEY_encrypt(context.get(), out.secret.data(), &size, secret.data(), secret.size()) == 1);

  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(),
                                                                               &EVP_CIPHER_CTX_free);
  EVP_CIPHER_CTX_set_flags(cipher.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  out.key.resize(key.size() + 16);
  int written = 0;
  Insist(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_wrap_pad(), nullptr, secret.data(), nullptr) == 1 &&
         EVP_EncryptUpdate(cipher.get(), out.key.data(), &written, key.data(), static_cast<int>(key.size())) == 1);
  out.key.resize(static_cast<std::size_t>(written));
  return out;
}

}  // namespace hallmark::test
