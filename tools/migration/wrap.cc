#include "tools/migration/wrap.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <memory>

namespace hallmark::migration {
namespace {

constexpr std::size_t kSecretOctets = 32;
constexpr int kLeastBits = 2048;
constexpr std::size_t kWrapRoom = 16;  // a block of padding and one of the integrity check

Result<Bytes> Encrypt(EVP_PKEY* key, const SecretOctets& secret) {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr), &EVP_PKEY_CTX_free);
  Bytes out(static_cast<std::size_t>(EVP_PKEY_get_size(key)));
  std::size_t size = out.size();
  if (context == nullptr || EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md_name(context.get(), "SHA1", nullptr) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md_name(context.get(), "SHA1", nullptr) != 1 ||
      EVP_PKEY_encrypt(context.get(), out.data(), &size, secret.data(), secret.size()) != 1) {
    ERR_clear_error();
    return MakeError(Reason::kInternal, "cannot encrypt to the wrapping key");
  }
  out.resize(size);
  return out;
}

Result<Bytes> Wrap(const SecretOctets& secret, const SecretOctets& pkcs8) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                &EVP_CIPHER_CTX_free);
  const std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> cipher(
      EVP_CIPHER_fetch(nullptr, "AES-256-WRAP-PAD", nullptr), &EVP_CIPHER_free);
  if (context == nullptr || cipher == nullptr) return MakeError(Reason::kInternal, "OpenSSL lacks AES key wrap");
  EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  Bytes out(pkcs8.size() + kWrapRoom);
  int size = 0, more = 0;
  if (EVP_EncryptInit_ex2(context.get(), cipher.get(), secret.data(), nullptr, nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), out.data(), &size, pkcs8.data(), static_cast<int>(pkcs8.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), out.data() + size, &more) != 1) {
    ERR_clear_error();
    return MakeError(Reason::kInternal, "cannot wrap the private key");
  }
  out.resize(static_cast<std::size_t>(size + more));
  return out;
}

}  // namespace

Result<Wrapped> WrapPrivateKey(ByteView wrapping_key, const SecretOctets& pkcs8) {
  const std::uint8_t* at = wrapping_key.data();
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      d2i_PUBKEY(nullptr, &at, static_cast<long>(wrapping_key.size())), &EVP_PKEY_free);
  if (key == nullptr || EVP_PKEY_is_a(key.get(), "RSA") != 1 || EVP_PKEY_get_bits(key.get()) < kLeastBits) {
    ERR_clear_error();
    return MakeError(Reason::kInvalidArgument, "the wrapping key is no RSA key of 2048 bits or more");
  }
  SecretOctets secret(kSecretOctets);
  if (RAND_priv_bytes(secret.data(), static_cast<int>(secret.size())) != 1) {
    return MakeError(Reason::kInternal, "no random octets to wrap the key with");
  }
  auto encrypted = Encrypt(key.get(), secret);
  if (!encrypted) return encrypted.error();
  auto wrapped = Wrap(secret, pkcs8);
  if (!wrapped) return wrapped.error();
  Wrapped out;
  out.wrapping_key_sha256.resize(SHA256_DIGEST_LENGTH);
  SHA256(wrapping_key.data(), wrapping_key.size(), out.wrapping_key_sha256.data());
  out.secret = std::move(*encrypted);
  out.key = std::move(*wrapped);
  return out;
}

}  // namespace hallmark::migration
