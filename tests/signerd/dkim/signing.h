#pragma once

#include <openssl/evp.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "signerd/dkim/profile.h"
#include "signerd/dkim/public_key.h"
#include "signerd/dkim/signature.h"
#include "signerd/dkim/verifier.h"

// What the tests of this folder share: keys held by OpenSSL in place of a token, and the way of a message through the
// library.
namespace dkim_test {

// A key pair in memory.
class TestKey {
 public:
  static TestKey Rsa(unsigned bits);
  static TestKey Ed25519();
  static TestKey P256();  // of no use for DKIM
  static TestKey FromSeed(hallmark::ByteView seed);
  static TestKey FromPem(const std::string& path);

  hallmark::Bytes Sign(const hallmark::dkim::Digest& digest) const;
  hallmark::dkim::PublicKey Public() const;
  hallmark::Bytes Spki() const;
  hallmark::dkim::Algorithm algorithm() const;

 private:
  explicit TestKey(EVP_PKEY* key) : key_(key, &EVP_PKEY_free) {}
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

// Made once a program.
const TestKey& Rsa2048();
const TestKey& Ed25519();

inline constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'700'000'000)};

// How and as whom a message is signed.
struct Signing {
  hallmark::dkim::SigningProfile profile = hallmark::dkim::DefaultProfile();
  const TestKey* key = &Ed25519();
  std::string domain = "example.com";
  std::string selector = "sel";
  std::size_t chunk = std::string::npos;  // octets given at once
};

// The message with its new field on top; fails the test when it cannot be signed.
std::string SignMessage(std::string_view message, const Signing& how = {});
// The field alone.
std::string MakeField(std::string_view message, const Signing& how = {});
hallmark::Result<hallmark::dkim::PreparedSignature> Prepare(std::string_view message, const Signing& how = {});
hallmark::dkim::BodyHash HashBody(hallmark::dkim::Canonicalization canonicalization, std::string_view body);

// Key records by name, in place of the DNS.
class Zone {
 public:
  Zone() = default;
  void Add(const std::string& name, const std::string& value) { records_[name].push_back(value); }
  hallmark::dkim::KeyLookup Lookup() const;

 private:
  std::map<std::string, std::vector<std::string>> records_;
};

// The zone in which both keys above are published, for whatever domain and selector `how` has.
Zone ZoneOf(const Signing& how);

// One line a signature: "pass", or the verdict and its reason. "no signature" for none.
std::string Verdicts(std::string_view message, const Zone& zone, std::chrono::sys_seconds now = kNow);

// The value of a tag, with all white space taken out; "(none)" where the tag is missing.
std::string TagOf(std::string_view field, std::string_view name);

// A file of tests/vectors.
std::string Vector(const std::string& name);

// Octets as C would write them, for names and failures.
std::string Escaped(std::string_view octets);

}  // namespace dkim_test
