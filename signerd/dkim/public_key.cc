#include "signerd/dkim/public_key.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "signerd/dkim/algorithm.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kEd25519Octets = 32;
constexpr int kLargestRsa = 16384;  // verifying with a larger one costs an attacker nothing and us much

Error Invalid(const std::string& what) {
  ERR_clear_error();  // OpenSSL queues its errors by thread; a later caller must not find this one
  return MakeError(Reason::kInvalidArgument, what);
}

}  // namespace

Result<PublicKey> PublicKey::Take(Handle key) {
  const int bits = EVP_PKEY_get_bits(key.get());
  if (EVP_PKEY_is_a(key.get(), "RSA") == 1) {
    const auto least = static_cast<int>(InfoOf(Algorithm::kRsaSha256).minimum_verifying_bits);
    if (bits < least) return Invalid("an RSA key of " + std::to_string(bits) + " bits is too short (RFC 8301)");
    if (bits > kLargestRsa) return Invalid("an RSA key of " + std::to_string(bits) + " bits is too long");
    return PublicKey(std::move(key), Algorithm::kRsaSha256);
  }
  if (EVP_PKEY_is_a(key.get(), "ED25519") == 1) return PublicKey(std::move(key), Algorithm::kEd25519Sha256);
  return Invalid("a public key that is neither RSA nor Ed25519");
}

Result<PublicKey> PublicKey::FromSpki(ByteView der) {
  const std::uint8_t* at = der.data();
  Handle key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())), &EVP_PKEY_free);
  if (key == nullptr || at != der.data() + der.size()) return Invalid("not a public key (SubjectPublicKeyInfo)");
  return Take(std::move(key));
}

Result<PublicKey> PublicKey::FromEd25519(ByteView raw) {
  if (raw.size() != kEd25519Octets) {
    return Invalid("an Ed25519 key has 32 octets, not " + std::to_string(raw.size()) + " (RFC 8463)");
  }
  Handle key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw.data(), raw.size()), &EVP_PKEY_free);
  if (key == nullptr) return Invalid("not an Ed25519 public key");
  return Take(std::move(key));
}

Result<PublicKey> PublicKey::FromRecordData(Algorithm algorithm, ByteView data) {
  if (algorithm == Algorithm::kEd25519Sha256) return FromEd25519(data);
  auto key = FromSpki(data);
  if (key && key->algorithm() != algorithm) return Invalid("the key is not of the algorithm that k= says");
  return key;
}

Bytes PublicKey::Spki() const {
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owner(der, [](void* memory) { OPENSSL_free(memory); });
  return size <= 0 ? Bytes() : Bytes(der, der + size);
}

Bytes PublicKey::RecordData() const {
  if (algorithm_ == Algorithm::kRsaSha256) return Spki();
  Bytes raw(kEd25519Octets);
  std::size_t size = raw.size();
  EVP_PKEY_get_raw_public_key(key_.get(), raw.data(), &size);
  return raw;
}

bool PublicKey::Verify(const Digest& digest, ByteView signature) const {
  bool good = false;
  if (algorithm_ == Algorithm::kEd25519Sha256) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    good = context != nullptr && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
           EVP_DigestVerify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
  } else {
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(key_.get(), nullptr),
                                                                              &EVP_PKEY_CTX_free);
    good = context != nullptr && EVP_PKEY_verify_init(context.get()) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1 &&
           EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
  }
  if (!good) ERR_clear_error();
  return good;
}

}  // namespace hallmark::dkim
