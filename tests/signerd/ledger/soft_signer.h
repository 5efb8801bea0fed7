#pragma once

#include <openssl/evp.h>

#include <atomic>
#include <memory>
#include <string>

#include "signerd/ledger/ledger.h"

namespace hallmark::ledger::test {

// A key in memory, in place of one in a token.
class SoftSigner final : public CheckpointSigner {
 public:
  SoftSigner() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free) {}
  Result<std::array<std::uint8_t, 32>> PublicKey() override {
    if (down) return MakeError(Reason::kTokenDown, "the token is away");
    std::array<std::uint8_t, 32> raw{};
    std::size_t size = raw.size();
    EVP_PKEY_get_raw_public_key(key_.get(), raw.data(), &size);
    return raw;
  }
  Result<Bytes> Sign(const std::string& text) override {
    Bytes signature(64);
    std::size_t size = signature.size();
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get());
    EVP_DigestSign(context.get(), signature.data(), &size, AsBytes(text).data(), text.size());
    if (wrong) signature[7] ^= 1;
    return signature;
  }
  std::atomic<bool> down{false}, wrong{false};

 private:
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

}  // namespace hallmark::ledger::test
