#pragma once

#include <openssl/evp.h>

#include <filesystem>
#include <memory>
#include <string>

#include "signerd/dkim/profile.h"
#include "signerd/snapshot/snapshot.h"

// Small things that several tests of signerd need.
namespace hallmark::test {

// A fresh Ed25519 public key: quick to make, and different every time.
inline std::shared_ptr<const dkim::PublicKey> FreshPublicKey() {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"),
                                                                &EVP_PKEY_free);
  Bytes raw(32);
  std::size_t size = raw.size();
  EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size);
  return std::make_shared<const dkim::PublicKey>(std::move(*dkim::PublicKey::FromEd25519(raw)));
}

inline snapshot::Key SampleKey(const std::string& domain, const std::string& selector) {
  snapshot::Key key;
  key.domain = domain;
  key.selector = selector;
  key.token = "softhsm";
  key.cka_id = Bytes(selector.begin(), selector.end());
  key.public_key = FreshPublicKey();
  key.created = key.state_since = std::chrono::sys_seconds(std::chrono::seconds(1'700'000'000));
  return key;
}

// A partner that may do all.
inline snapshot::Partner PartnerForAll(const std::string& name) {
  snapshot::Partner partner;
  partner.name = name;
  partner.author_domains = partner.signing_domains = *snapshot::DomainRules::Parse({"*"});
  return partner;
}

// A folder of the test's own, removed with it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace hallmark::test
