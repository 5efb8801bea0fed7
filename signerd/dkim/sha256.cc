#include "signerd/dkim/sha256.h"

#include <cstdlib>

namespace hallmark::dkim {
namespace {

// Fetched once: looking an algorithm up by name for each message costs more than hashing a short one.
const EVP_MD* Algorithm256() {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return algorithm;
}

// SHA-256 fails only when memory is exhausted or OpenSSL is broken; a wrong hash must not leave either way.
void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
  Require(context_ != nullptr && EVP_DigestInit_ex2(context_.get(), Algorithm256(), nullptr) == 1);
}

void Sha256::Update(std::string_view octets) {
  Require(EVP_DigestUpdate(context_.get(), octets.data(), octets.size()) == 1);
}

Digest Sha256::Finish() {
  Digest digest;
  unsigned size = 0;
  Require(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1 && size == digest.size());
  return digest;
}

Digest Sha256Of(std::string_view octets) {
  Sha256 hash;
  hash.Update(octets);
  return hash.Finish();
}

}  // namespace hallmark::dkim
