#include "signerd/dkim/public_key.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <iterator>

#include "signerd/dkim/algorithm.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kEd25519Octets = 32;
constexpr int kLargestRsa = 16384;  // verifying with a larger one costs an attacker nothing and us much

Error Invalid(const std::string& what) {
  ERR_clear_error();  // OpenSSL queues its errors by thread; a later caller must not find this one
  return MakeError(Reason::kInvalidArgument, what);
}

// The DER of an Ed25519 key up to its 32 octets (RFC 8410 section 4), and the object identifier of RSA.
constexpr std::uint8_t kEd25519Start[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr std::uint8_t kRsaOid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};

using Context = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;

Bytes Encode(const EVP_PKEY* key) {
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owner(der, [](void* memory) { OPENSSL_free(memory); });
  return size <= 0 ? Bytes() : Bytes(der, der + size);
}

// Null where the key cannot verify.
Context VerifyingRsa(EVP_PKEY* key) {
  Context context(EVP_PKEY_CTX_new(key, nullptr), &EVP_PKEY_CTX_free);
  const bool ready = context != nullptr && EVP_PKEY_verify_init(context.get()) == 1 &&
                     EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1 &&
                     EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1;
  if (!ready) context.reset();
  return context;
}

bool VerifiesRsa(const EVP_PKEY_CTX* verifying, const Digest& digest, ByteView signature) {
  const Context context(verifying == nullptr ? nullptr : EVP_PKEY_CTX_dup(verifying), &EVP_PKEY_CTX_free);
  return context != nullptr &&
         EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
}

bool VerifiesEd25519(EVP_PKEY* key, const Digest& digest, ByteView signature) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  return context != nullptr && key != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
}

}  // namespace

Result<PublicKey> PublicKey::Take(Handle key) {
  const int bits = EVP_PKEY_get_bits(key.get());
  Algorithm algorithm = Algorithm::kRsaSha256;
  if (EVP_PKEY_is_a(key.get(), "RSA") == 1) {
    const auto least = static_cast<int>(InfoOf(Algorithm::kRsaSha256).minimum_verifying_bits);
    if (bits < least) return Invalid("an RSA key of " + std::to_string(bits) + " bits is too short (RFC 8301)");
    if (bits > kLargestRsa) return Invalid("an RSA key of " + std::to_string(bits) + " bits is too long");
  } else if (EVP_PKEY_is_a(key.get(), "ED25519") == 1) {
    algorithm = Algorithm::kEd25519Sha256;
  } else {
    return Invalid("a public key that is neither RSA nor Ed25519");
  }
  PublicKey taken(Encode(key.get()), algorithm);
  return taken;
}

Result<PublicKey> PublicKey::FromSpki(ByteView der) {
  const std::uint8_t* at = der.data();
  Handle key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())), &EVP_PKEY_free);
  if (key == nullptr || at != der.data() + der.size()) return Invalid("not a public key (SubjectPublicKeyInfo)");
  return Take(std::move(key));
}

Result<PublicKey> PublicKey::FromRecordedSpki(Bytes der) {
  if (der.size() == std::size(kEd25519Start) + kEd25519Octets &&
      std::equal(std::begin(kEd25519Start), std::end(kEd25519Start), der.begin())) {
    return PublicKey(std::move(der), Algorithm::kEd25519Sha256);
  }
  if (std::search(der.begin(), der.end(), std::begin(kRsaOid), std::end(kRsaOid)) != der.end()) {
    return PublicKey(std::move(der), Algorithm::kRsaSha256);
  }
  return Invalid("a recorded public key that is neither RSA nor Ed25519");
}

const PublicKey::Parsed& PublicKey::Key() const {
  std::call_once(parsed_->once, [this] {
    const std::uint8_t* at = spki_.data();
    parsed_->key.reset(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki_.size())));
    switch (algorithm_) {
      case Algorithm::kRsaSha256: parsed_->verifying = VerifyingRsa(parsed_->key.get()); break;
      case Algorithm::kEd25519Sha256: break;  // has nothing to prepare
    }
    ERR_clear_error();
  });
  return *parsed_;
}

unsigned PublicKey::bits() const {
  EVP_PKEY* key = Key().key.get();
  return key == nullptr ? 0 : static_cast<unsigned>(EVP_PKEY_get_bits(key));
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
  switch (algorithm) {
    case Algorithm::kEd25519Sha256: return FromEd25519(data);
    case Algorithm::kRsaSha256: break;
  }
  auto key = FromSpki(data);
  if (key && key->algorithm() != algorithm) return Invalid("the key is not of the algorithm that k= says");
  return key;
}

Bytes PublicKey::RecordData() const {
  switch (algorithm_) {
    case Algorithm::kRsaSha256: break;
    case Algorithm::kEd25519Sha256: return {spki_.end() - kEd25519Octets, spki_.end()};
  }
  return spki_;
}

bool PublicKey::Verify(const Digest& digest, ByteView signature) const {
  const Parsed& parsed = Key();
  bool good = false;
  switch (algorithm_) {
    case Algorithm::kRsaSha256: good = VerifiesRsa(parsed.verifying.get(), digest, signature); break;
    case Algorithm::kEd25519Sha256: good = VerifiesEd25519(parsed.key.get(), digest, signature); break;
  }
  if (!good) ERR_clear_error();
  return good;
}

}  // namespace hallmark::dkim
