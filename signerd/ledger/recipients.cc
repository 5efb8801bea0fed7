#include "signerd/ledger/recipients.h"

#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <string>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"

namespace hallmark::ledger {
namespace {

std::string Normalize(std::string_view address) {
  std::string normal(address);
  const std::size_t at = normal.rfind('@');
  if (at == std::string::npos) return normal;
  std::transform(normal.begin() + static_cast<std::ptrdiff_t>(at), normal.end(),
                 normal.begin() + static_cast<std::ptrdiff_t>(at),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return normal;
}

Status MakeKey(const std::filesystem::path& file) {
  std::array<std::uint8_t, 32> key{};
  if (RAND_bytes(key.data(), static_cast<int>(key.size())) != 1) {
    return MakeError(Reason::kInternal, "OpenSSL has no random octets");
  }
  return WriteFileAtomically(file, HexEncode(key) + "\n", 0600);
}

}  // namespace

Result<Recipients> Recipients::Open(Mode mode, const std::filesystem::path& ledger_directory) {
  if (mode != Mode::kHashed) {
    auto none = SecretString::Create("");
    if (!none) return none.error();
    return Recipients(mode, std::move(*none));
  }
  const std::filesystem::path file = ledger_directory / "recipient.key";
  std::error_code failed;
  std::filesystem::create_directories(ledger_directory, failed);
  if (!std::filesystem::exists(file, failed)) {
    const Status made = MakeKey(file);
    if (!made) return made.error();
  }
  auto key = ReadSecretFile(file);
  if (!key) return key.error();
  return Recipients(mode, std::move(*key));
}

Bytes Recipients::Hash(std::string_view address) const {
  const std::string normal = Normalize(address);
  Bytes hash(32);
  unsigned size = 0;
  HMAC(EVP_sha256(), key_.view().data(), static_cast<int>(key_.view().size()), AsBytes(normal).data(), normal.size(),
       hash.data(), &size);
  return hash;
}

}  // namespace hallmark::ledger
