#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "firmware/runtime/encoding.h"
#include "tools/migration/private_key.h"
#include "tools/migration/wrap.h"

namespace hallmark::migration {
namespace {

using testing::HasSubstr;

SecretOctets Octets(std::string_view text) { return {text.begin(), text.end()}; }
SecretOctets Octets(ByteView octets) { return {octets.begin(), octets.end()}; }

std::optional<SecretOctets> NoPhrase() { return std::nullopt; }

// RFC 8032 section 7.1, test 1.
const char* kSeedHex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const char* kPublicHex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const char* kVersion1Hex = "302e020100300506032b657004220420";
const char* kVersion2Hex = "3051020101300506032b657004220420";

Bytes Hex(const std::string& text) { return *HexDecode(text); }

struct Spelling {
  const char* name;
  SecretOctets content;
};
std::vector<Spelling> Ed25519Spellings() {
  const Bytes seed = Hex(kSeedHex), both = Hex(std::string(kSeedHex) + kPublicHex);
  const Bytes version1 = Hex(std::string(kVersion1Hex) + kSeedHex);
  const Bytes version2 = Hex(std::string(kVersion2Hex) + kSeedHex + "812100" + kPublicHex);
  const auto pem = [](const Bytes& der) {
    return "-----BEGIN PRIVATE KEY-----\n" + Base64Encode(der) + "\n-----END PRIVATE KEY-----\n";
  };
  return {{"seed in base64", Octets(Base64Encode(seed) + "\n")},
          {"seed in base64 without padding", Octets(Base64Encode(seed).substr(0, 43))},
          {"seed and public key", Octets(Base64Encode(both))},
          {"PKCS#8 DER", Octets(ByteView(version1))},
          {"PKCS#8 version 2 DER", Octets(ByteView(version2))},
          {"PKCS#8 PEM", Octets(pem(version1))},
          {"PKCS#8 version 2 PEM", Octets(pem(version2))},
          {"PEM after a comment", Octets("# my key\r\n" + pem(version1))},
          {"base64 of DER", Octets(Base64Encode(version1))}};
}

TEST(PrivateKeyForms, Ed25519InEverySpelling) {
  for (const auto& [name, content] : Ed25519Spellings()) {
    const auto key = ParsePrivateKey(content, &NoPhrase);
    ASSERT_TRUE(key) << name << ": " << key.error().message;
    EXPECT_TRUE(key->ed25519) << name;
    EXPECT_EQ(HexEncode(ByteView(key->spki).last(32)), kPublicHex) << name;
    EXPECT_EQ(HexEncode(ByteView(key->pkcs8.data(), key->pkcs8.size())), std::string(kVersion1Hex) + kSeedHex) << name;
  }
}

// "0" is what a DER sequence begins with, too.
TEST(PrivateKeyForms, SeedWhoseBase64BeginsWithZero) {
  const std::string text = Base64Encode(Bytes(32, 0xd1));
  ASSERT_EQ(text.front(), '0');
  const auto key = ParsePrivateKey(Octets(text + "\n"), &NoPhrase);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_TRUE(key->ed25519);
}

TEST(PrivateKeyForms, WhatIsNoneIsSaidByItsName) {
  const Bytes spki = Hex(std::string("302a300506032b6570032100") + kPublicHex);
  const std::string swapped = Base64Encode(Hex(std::string(kPublicHex) + kSeedHex));
  const std::pair<SecretOctets, const char*> rows[] = {
      {Octets(""), "no private key"},
      {Octets("hello\n"), "no private key"},
      {Octets(Base64Encode(spki)), "public key"},
      {Octets(ByteView(spki)), "public key"},
      {Octets("-----BEGIN PUBLIC KEY-----\n" + Base64Encode(spki) + "\n-----END PUBLIC KEY-----\n"), "public key"},
      {Octets("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate"},
      {Octets("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"), "OpenSSH"},
      {Octets("-----BEGIN PRIVATE KEY-----\nAAAA\n"), "no end"},
      {Octets("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n"), "no base64"},
      {Octets(swapped), "another key's"},
      {Octets(ByteView(Hex(kPublicHex))), "raw octets"},
      {SecretOctets(100'000, 'A'), "larger than any key"},
  };
  for (const auto& [content, words] : rows) {
    const auto key = ParsePrivateKey(content, &NoPhrase);
    ASSERT_FALSE(key) << words;
    EXPECT_THAT(key.error().message, HasSubstr(words));
    EXPECT_THAT(key.error().message, testing::Not(HasSubstr("AAAA")));
  }
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

TEST(PrivateKeyForms, KeysForOtherThings) {
  const Key elliptic(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), &EVP_PKEY_free);
  std::uint8_t* der = nullptr;
  const int size = i2d_PrivateKey(elliptic.get(), &der);
  const auto key = ParsePrivateKey(Octets(ByteView(der, static_cast<std::size_t>(size))), &NoPhrase);
  OPENSSL_free(der);
  ASSERT_FALSE(key);
  EXPECT_THAT(key.error().message, HasSubstr("RSA and Ed25519 only"));
}

TEST(PrivateKeyForms, EncryptedOnesAskForTheirPassPhrase) {
  const Key rsa(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(2048)), &EVP_PKEY_free);
  const auto written = [&](bool pkcs8) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
    std::string phrase = "open sesame";
    auto* octets = reinterpret_cast<unsigned char*>(phrase.data());
    const int length = static_cast<int>(phrase.size());
    if (pkcs8) {
      PEM_write_bio_PKCS8PrivateKey(bio.get(), rsa.get(), EVP_aes_256_cbc(), phrase.data(), length, nullptr, nullptr);
    } else {
      PEM_write_bio_PrivateKey_traditional(bio.get(), rsa.get(), EVP_aes_256_cbc(), octets, length, nullptr, nullptr);
    }
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return Octets(std::string_view(data, static_cast<std::size_t>(size)));
  };
  for (const bool pkcs8 : {true, false}) {
    const SecretOctets content = written(pkcs8);
    const auto key = ParsePrivateKey(content, [] { return std::optional<SecretOctets>(Octets("open sesame")); });
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_EQ(key->bits, 2048u);
    EXPECT_THAT(ParsePrivateKey(content, &NoPhrase).error().message, HasSubstr("pass phrase"));
    EXPECT_THAT(ParsePrivateKey(content, [] { return std::optional<SecretOctets>(Octets("wrong")); }).error().message,
                HasSubstr("pass phrase"));
  }
}

TEST(Wrapping, IsForRsaKeysOnly) {
  const auto key = ParsePrivateKey(Ed25519Spellings().front().content, &NoPhrase);
  ASSERT_TRUE(key);
  EXPECT_EQ(WrapPrivateKey(key->spki, key->pkcs8).error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(WrapPrivateKey(Bytes{1, 2, 3}, key->pkcs8).error().reason, Reason::kInvalidArgument);
}

}  // namespace
}  // namespace hallmark::migration
