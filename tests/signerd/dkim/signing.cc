#include "signing.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdio>

#include "firmware/runtime/file.h"
#include "signerd/dkim/key_record.h"
#include "signerd/dkim/tag_list.h"

namespace dkim_test {

using namespace hallmark;
using namespace hallmark::dkim;

TestKey TestKey::Rsa(unsigned bits) { return TestKey(EVP_RSA_gen(bits)); }

TestKey TestKey::Ed25519() { return TestKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }

TestKey TestKey::P256() { return TestKey(EVP_EC_gen("P-256")); }

TestKey TestKey::FromSeed(ByteView seed) {
  return TestKey(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
}

TestKey TestKey::FromPem(const std::string& path) {
  const std::unique_ptr<FILE, decltype(&std::fclose)> file(std::fopen(path.c_str(), "r"), &std::fclose);
  return TestKey(file == nullptr ? nullptr : PEM_read_PrivateKey(file.get(), nullptr, nullptr, nullptr));
}

Algorithm TestKey::algorithm() const {
  return EVP_PKEY_is_a(key_.get(), "RSA") == 1 ? Algorithm::kRsaSha256 : Algorithm::kEd25519Sha256;
}

Bytes TestKey::Sign(const Digest& digest) const {
  Bytes signature(static_cast<std::size_t>(EVP_PKEY_get_size(key_.get())));
  std::size_t size = signature.size();
  if (algorithm() == Algorithm::kEd25519Sha256) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
    EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()), 1);
    EXPECT_EQ(EVP_DigestSign(context.get(), signature.data(), &size, digest.data(), digest.size()), 1);
  } else {
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(key_.get(), nullptr),
                                                                              &EVP_PKEY_CTX_free);
    EXPECT_EQ(EVP_PKEY_sign_init(context.get()), 1);
    EXPECT_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING), 1);
    EXPECT_EQ(EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()), 1);
    EXPECT_EQ(EVP_PKEY_sign(context.get(), signature.data(), &size, digest.data(), digest.size()), 1);
  }
  signature.resize(size);
  return signature;
}

Bytes TestKey::Spki() const {
  std::uint8_t* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  const Bytes out(der, der + std::max(size, 0));
  OPENSSL_free(der);
  return out;
}

PublicKey TestKey::Public() const { return PublicKey::FromSpki(Spki()).value(); }

const TestKey& Rsa2048() {
  static const TestKey key = TestKey::Rsa(2048);
  return key;
}

const TestKey& Ed25519() {
  static const TestKey key = TestKey::Ed25519();
  return key;
}

BodyHash HashBody(Canonicalization canonicalization, std::string_view body) {
  BodyHasher hasher(canonicalization);
  hasher.Push(body);
  return hasher.Finish();
}

Result<PreparedSignature> Prepare(std::string_view message, const Signing& how) {
  HeaderReader reader;
  BodyHasher body(how.profile.body);
  while (!message.empty()) {
    std::string_view chunk = message.substr(0, how.chunk);
    message.remove_prefix(chunk.size());
    if (!reader.done()) {
      const auto taken = reader.Push(chunk);
      if (!taken) return taken.error();
      chunk.remove_prefix(*taken);
    }
    body.Push(chunk);
  }
  const auto header = std::move(reader).Finish();
  if (!header) return header.error();
  const PreparedProfile profile(how.profile);
  const auto fields = CanonicalizeFields(*header, profile);
  if (!fields) return fields.error();
  return PrepareSignature({.fields = *fields,
                           .profile = profile,
                           .domain = how.domain,
                           .selector = how.selector,
                           .algorithm = how.key->algorithm(),
                           .body_canonicalization = how.profile.body,
                           .body_hash = body.Finish(),
                           .time = kNow});
}

std::string MakeField(std::string_view message, const Signing& how) {
  const auto prepared = Prepare(message, how);
  if (!prepared) {
    ADD_FAILURE() << prepared.error().message;
    return "";
  }
  return AssembleField(*prepared, how.key->Sign(prepared->digest));
}

std::string SignMessage(std::string_view message, const Signing& how) {
  return MakeField(message, how) + std::string(message);
}

KeyLookup Zone::Lookup() const {
  return [records = records_](const std::string& name) -> Result<std::vector<std::string>> {
    const auto found = records.find(name);
    if (found == records.end()) return MakeError(Reason::kNotFound, "no record at " + name);
    return found->second;
  };
}

Zone ZoneOf(const Signing& how) {
  Zone zone;
  zone.Add(how.selector + "._domainkey." + how.domain, KeyRecordValue(how.key->Public()));
  return zone;
}

std::string Verdicts(std::string_view message, const Zone& zone, std::chrono::sys_seconds now) {
  const auto verdicts = VerifyMessage(message, zone.Lookup(), now);
  if (!verdicts) return verdicts.error().message;
  std::string text;
  for (const SignatureVerdict& verdict : *verdicts) {
    if (!text.empty()) text += '\n';
    text += VerdictName(verdict.verdict);
    if (!verdict.reason.empty()) text += ": " + verdict.reason;
  }
  return text.empty() ? "no signature" : text;
}

std::string TagOf(std::string_view field, std::string_view name) {
  const auto tags = TagList::Parse(field.substr(field.find(':') + 1));
  if (!tags) return "(" + tags.error().message + ")";
  const Tag* tag = tags->Find(name);
  return tag == nullptr ? "(none)" : WithoutFws(tag->value);
}

std::string Vector(const std::string& name) {
  const auto content = ReadFile(HALLMARK_TESTS_DIR "/vectors/" + name, 1 << 20);
  if (!content) ADD_FAILURE() << content.error().message;
  return content ? *content : "";
}

std::string Escaped(std::string_view octets) {
  std::string text;
  for (const char c : octets) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    if (c == '\r') {
      text += "\\r";
    } else if (c == '\n') {
      text += "\\n";
    } else {
      text += c >= ' ' && c < '\x7f' ? std::string(1, c) : escaped;
    }
  }
  return text;
}

}  // namespace dkim_test
