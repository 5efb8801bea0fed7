#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string_view>

#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// SHA-256 of octets as they come, by OpenSSL. Not thread-safe; distinct objects are independent.
class Sha256 {
 public:
  Sha256();
  void Update(std::string_view octets);
  // Once.
  Digest Finish();

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// The same for octets that are all there. Any thread.
Digest Sha256Of(std::string_view octets);

}  // namespace hallmark::dkim
