#include "signerd/ledger/recipients.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <cstdlib>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/secret.h"
#include "signerd/ledger/terms.h"

namespace hallmark::ledger {
namespace {

Status MakeKey(const std::filesystem::path& file) {
  std::array<std::uint8_t, 32> key{};
  if (RAND_bytes(key.data(), static_cast<int>(key.size())) != 1) {
    return MakeError(Reason::kInternal, "OpenSSL has no random octets");
  }
  return WriteFileAtomically(file, HexEncode(key) + "\n", 0600);
}

// HMAC fails only when memory is exhausted or OpenSSL is broken; a wrong hash must not leave either way.
void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

Result<Recipients> Recipients::Open(Mode mode, const std::filesystem::path& ledger_directory) {
  if (mode != Mode::kHashed) return Recipients(mode, Mac(nullptr, &EVP_MAC_CTX_free));
  const std::filesystem::path file = ledger_directory / "recipient.key";
  std::error_code failed;
  std::filesystem::create_directories(ledger_directory, failed);
  if (!std::filesystem::exists(file, failed)) {
    const Status made = MakeKey(file);
    if (!made) return made.error();
  }
  auto key = ReadSecretFile(file);
  if (!key) return key.error();
  return Recipients(mode, KeyedWith(key->view()));
}

Recipients::Mac Recipients::KeyedWith(std::string_view key) {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> hmac(EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr),
                                                               &EVP_MAC_free);
  Mac keyed(EVP_MAC_CTX_new(hmac.get()), &EVP_MAC_CTX_free);
  std::string digest = OSSL_DIGEST_NAME_SHA2_256;
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
                                   OSSL_PARAM_construct_end()};
  Require(keyed != nullptr && EVP_MAC_init(keyed.get(), AsBytes(key).data(), key.size(), parameters) == 1);
  return keyed;
}

std::vector<Recipients::Hashed> Recipients::Hash(std::span<const std::string> addresses) const {
  std::vector<Hashed> hashes;
  if (addresses.empty()) return hashes;
  hashes.reserve(addresses.size());
  Mac mac = Take();
  for (const std::string& address : addresses) {
    const std::string normal = NormalizeAddress(address);
    std::size_t size = 0;
    Hashed& hash = hashes.emplace_back();
    // Without a key it begins anew with the one that it has.
    Require(EVP_MAC_init(mac.get(), nullptr, 0, nullptr) == 1 &&
            EVP_MAC_update(mac.get(), AsBytes(normal).data(), normal.size()) == 1 &&
            EVP_MAC_final(mac.get(), hash.data(), &size, hash.size()) == 1 && size == hash.size());
  }
  GiveBack(std::move(mac));
  return hashes;
}

Recipients::Mac Recipients::Take() const {
  {
    const std::lock_guard lock(idle_->mutex);
    if (!idle_->macs.empty()) {
      Mac mac = std::move(idle_->macs.back());
      idle_->macs.pop_back();
      return mac;
    }
  }
  Mac mac(EVP_MAC_CTX_dup(keyed_.get()), &EVP_MAC_CTX_free);
  Require(mac != nullptr);
  return mac;
}

void Recipients::GiveBack(Mac mac) const {
  const std::lock_guard lock(idle_->mutex);
  idle_->macs.push_back(std::move(mac));
}

}  // namespace hallmark::ledger
