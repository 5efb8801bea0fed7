#pragma once

#include <p11-kit/pkcs11.h>

#include <filesystem>
#include <memory>
#include <string>

#include "firmware/runtime/result.h"

// Opaque: p11-kit's parsed URI.
struct p11_kit_uri;

namespace hallmark::pkcs11 {

// A PKCS#11 URI (RFC 7512) that names a token and the file of its PIN.
class TokenUri {
 public:
  // kConfigInvalid for what is no such URI: also for pin-value (a PIN does not belong into a configuration), a slot
  // number (they move), attributes of objects or libraries, unknown ones, and one that names no token or no file.
  static Result<TokenUri> Parse(const std::string& text);

  bool Matches(const CK_TOKEN_INFO& token) const;
  const std::filesystem::path& pin_file() const { return pin_file_; }
  // The URI without its query.
  const std::string& name() const { return name_; }

 private:
  using Handle = std::unique_ptr<p11_kit_uri, void (*)(p11_kit_uri*)>;
  TokenUri(Handle uri, std::filesystem::path pin_file, std::string name)
      : uri_(std::move(uri)), pin_file_(std::move(pin_file)), name_(std::move(name)) {}
  Handle uri_;
  std::filesystem::path pin_file_;
  std::string name_;
};

}  // namespace hallmark::pkcs11
