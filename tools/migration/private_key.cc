#include "tools/migration/private_key.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "firmware/runtime/file.h"

namespace hallmark::migration {
namespace {

constexpr std::size_t kMostOctets = 64 << 10;
constexpr std::size_t kEd25519Octets = 32;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Pkcs8 = std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)>;

// Nothing of what OpenSSL says: it is about a secret.
Error Not(const std::string& what) {
  ERR_clear_error();
  return MakeError(Reason::kInvalidArgument, what);
}

// PrivateKeyInfo of Ed25519 up to the seed (RFC 8410 section 7): version 1, and version 2, which a public part follows.
constexpr std::array<std::uint8_t, 14> kSeedPrefix = {0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03,
                                                      0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
constexpr std::array<std::uint8_t, 12> kEd25519SpkiPrefix = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                             0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr std::array<std::uint8_t, 3> kPublicPrefix = {0x81, 0x21, 0x00};

Result<PrivateKey> Finish(const Key& key, std::string form) {
  if (key == nullptr) return Not("this is no private key, or a broken one");
  PrivateKey out;
  out.ed25519 = EVP_PKEY_is_a(key.get(), "ED25519") == 1;
  if (!out.ed25519 && EVP_PKEY_is_a(key.get(), "RSA") != 1) {
    const char* name = EVP_PKEY_get0_type_name(key.get());
    return Not(std::string("the key is for ") + (name == nullptr ? "something else" : name) +
               "; DKIM knows RSA and Ed25519 only");
  }
  out.bits = static_cast<unsigned>(EVP_PKEY_get_bits(key.get()));
  out.form = std::move(form);
  const Pkcs8 info(EVP_PKEY2PKCS8(key.get()), &PKCS8_PRIV_KEY_INFO_free);
  const int size = info == nullptr ? 0 : i2d_PKCS8_PRIV_KEY_INFO(info.get(), nullptr);
  if (size <= 0) return Not("the private key cannot be written as PKCS#8");
  out.pkcs8.resize(static_cast<std::size_t>(size));
  std::uint8_t* at = out.pkcs8.data();
  i2d_PKCS8_PRIV_KEY_INFO(info.get(), &at);
  const int public_size = i2d_PUBKEY(key.get(), nullptr);
  if (public_size <= 0) return Not("the private key does not give its public part");
  out.spki.resize(static_cast<std::size_t>(public_size));
  at = out.spki.data();
  i2d_PUBKEY(key.get(), &at);
  return out;
}

// `public_part` is empty where none came with the seed.
Result<PrivateKey> FromSeed(ByteView seed, ByteView public_part, const std::string& form) {
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()), &EVP_PKEY_free);
  auto made = Finish(key, form);
  if (!made || public_part.empty()) return made;
  const ByteView derived = ByteView(made->spki).last(kEd25519Octets);
  if (std::equal(derived.begin(), derived.end(), public_part.begin(), public_part.end())) return made;
  return Not("the public part that comes with the Ed25519 seed is another key's");
}

// OpenSSL 3.0 reads version 1 only.
std::optional<Result<PrivateKey>> FromEd25519Version2(ByteView der, const std::string& form) {
  constexpr std::size_t kHead = 2 + kSeedPrefix.size();
  constexpr std::size_t kSize = kHead + kEd25519Octets + kPublicPrefix.size() + kEd25519Octets;
  if (der.size() != kSize || der[0] != 0x30 || der[1] != kSize - 2 || der[4] != 0x01) return std::nullopt;
  auto prefix = kSeedPrefix;
  prefix[2] = 0x01;
  const ByteView after = der.subspan(kHead + kEd25519Octets);
  if (!std::equal(prefix.begin(), prefix.end(), der.begin() + 2) ||
      !std::equal(kPublicPrefix.begin(), kPublicPrefix.end(), after.begin())) {
    return std::nullopt;
  }
  return FromSeed(der.subspan(kHead, kEd25519Octets), after.last(kEd25519Octets), form + " (version 2)");
}

int TellPassPhrase(char* out, int size, int, void* ask) {
  const auto phrase = (*static_cast<const AskPassPhrase*>(ask))();
  if (!phrase || phrase->empty() || phrase->size() > static_cast<std::size_t>(size)) return -1;
  std::memcpy(out, phrase->data(), phrase->size());
  return static_cast<int>(phrase->size());
}

// Why a key that is encrypted could not be read.
Error NotDecrypted() {
  return Not("the key is encrypted, and the pass phrase is missing or wrong: it is asked for on the terminal");
}

Result<PrivateKey> FromDer(ByteView der, const std::string& form, const AskPassPhrase& ask) {
  if (der.size() == kEd25519SpkiPrefix.size() + kEd25519Octets &&
      std::equal(kEd25519SpkiPrefix.begin(), kEd25519SpkiPrefix.end(), der.begin())) {
    return Not("this is a public key (Ed25519), not a private one");
  }
  if (auto version2 = FromEd25519Version2(der, form + " PKCS#8")) return std::move(*version2);
  const auto length = static_cast<long>(der.size());
  const std::uint8_t* at = der.data();
  const Pkcs8 info(d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, length), &PKCS8_PRIV_KEY_INFO_free);
  if (info != nullptr && at == der.data() + der.size()) {
    return Finish(Key(EVP_PKCS82PKEY(info.get()), &EVP_PKEY_free), form + " PKCS#8");
  }
  at = der.data();
  Key key(d2i_AutoPrivateKey(nullptr, &at, length), &EVP_PKEY_free);
  if (key != nullptr && at == der.data() + der.size()) return Finish(key, form + " PKCS#1");
  at = der.data();
  if (Key(d2i_PUBKEY(nullptr, &at, length), &EVP_PKEY_free) != nullptr) {
    return Not("this is a public key, not a private one");
  }
  at = der.data();
  const std::unique_ptr<X509_SIG, decltype(&X509_SIG_free)> encrypted(d2i_X509_SIG(nullptr, &at, length),
                                                                      &X509_SIG_free);
  if (encrypted == nullptr || at != der.data() + der.size()) return Not("this is no private key, or a broken one");
  const auto phrase = ask();
  if (!phrase) return NotDecrypted();
  const Pkcs8 decrypted(
      PKCS8_decrypt(encrypted.get(), reinterpret_cast<const char*>(phrase->data()), static_cast<int>(phrase->size())),
      &PKCS8_PRIV_KEY_INFO_free);
  if (decrypted == nullptr) return NotDecrypted();
  return Finish(Key(EVP_PKCS82PKEY(decrypted.get()), &EVP_PKEY_free), form + " PKCS#8, encrypted");
}

// Base64 with line ends and blanks in it, and nothing else; padding as it comes.
std::optional<SecretOctets> DecodeBase64(std::string_view text) {
  SecretOctets clean;
  clean.reserve(text.size() + 3);
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    clean.push_back(static_cast<std::uint8_t>(c));
  }
  while (!clean.empty() && clean.back() == '=') clean.pop_back();
  if (clean.empty() || clean.size() % 4 == 1) return std::nullopt;
  const std::size_t octets = clean.size() * 3 / 4;
  while (clean.size() % 4 != 0) clean.push_back('=');
  SecretOctets out(clean.size());
  if (EVP_DecodeBlock(out.data(), clean.data(), static_cast<int>(clean.size())) < 0) return std::nullopt;
  out.resize(octets);
  return out;
}

Result<PrivateKey> FromBase64(ByteView octets, const AskPassPhrase& ask) {
  if (octets.size() == kEd25519Octets) return FromSeed(octets, {}, "Ed25519 seed in base64");
  if (octets.size() == 2 * kEd25519Octets) {
    return FromSeed(octets.first(kEd25519Octets), octets.last(kEd25519Octets), "Ed25519 seed and public key in base64");
  }
  return FromDer(octets, "base64", ask);
}

// The label of a PEM block: "RSA PRIVATE KEY".
std::string_view LabelAt(std::string_view text, std::size_t begin) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  const std::size_t end = text.find("-----", begin + kBegin.size());
  if (end == std::string_view::npos) return {};
  return text.substr(begin + kBegin.size(), end - begin - kBegin.size());
}

Result<PrivateKey> FromPem(std::string_view text, std::size_t begin, const AskPassPhrase& ask) {
  const std::string_view label = LabelAt(text, begin);
  if (label == "PUBLIC KEY" || label == "RSA PUBLIC KEY") return Not("this is a public key, not a private one");
  if (label == "CERTIFICATE") return Not("this is a certificate, not a private key");
  if (!label.ends_with("PRIVATE KEY")) return Not("the PEM block is no private key");
  if (label == "OPENSSH PRIVATE KEY") return Not("this is a key of OpenSSH's own form; DKIM keys are PKCS#1 or PKCS#8");
  const std::string end_line = "-----END " + std::string(label) + "-----";
  const std::size_t end = text.find(end_line, begin);
  if (end == std::string_view::npos) return Not("the PEM block has no end");
  const std::size_t body = begin + std::string_view("-----BEGIN -----").size() + label.size();
  if (label == "PRIVATE KEY" || label == "ENCRYPTED PRIVATE KEY") {
    const auto der = DecodeBase64(text.substr(body, end - body));
    return der ? FromDer(*der, "PEM", ask) : Not("the PEM block is no base64");
  }
  const Bio bio(BIO_new_mem_buf(text.data() + begin, static_cast<int>(end + end_line.size() - begin)), &BIO_free);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &TellPassPhrase, const_cast<AskPassPhrase*>(&ask)),
                &EVP_PKEY_free);
  const bool encrypted = text.substr(body, end - body).find("ENCRYPTED") != std::string_view::npos;
  if (key == nullptr && encrypted) return NotDecrypted();
  return Finish(key, encrypted ? "PEM PKCS#1, encrypted" : "PEM PKCS#1");
}

Result<SecretOctets> ReadSecretOctets(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    return MakeError(errno == ENOENT ? Reason::kNotFound : Reason::kIoFailed,
                     path.string() + ": cannot open: " + std::strerror(errno));
  }
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return MakeError(Reason::kInvalidArgument, path.string() + ": not a regular file");
  }
  SecretOctets content(kMostOctets + 1);
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t count = ::read(file.get(), content.data() + size, content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return MakeError(Reason::kIoFailed, path.string() + ": cannot read: " + std::strerror(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > kMostOctets) return MakeError(Reason::kInvalidArgument, path.string() + ": larger than any key is");
  content.resize(size);
  return content;
}

}  // namespace

Result<PrivateKey> ParsePrivateKey(const SecretOctets& content, const AskPassPhrase& ask) {
  if (content.size() > kMostOctets) return Not("larger than any key is");
  const std::string_view text = TextOf(content);
  // A file may hold a certificate beside its key.
  const std::size_t any = text.find("-----BEGIN ");
  for (std::size_t begin = any; begin != std::string_view::npos; begin = text.find("-----BEGIN ", begin + 1)) {
    if (LabelAt(text, begin).ends_with("PRIVATE KEY")) return FromPem(text, begin, ask);
  }
  if (any != std::string_view::npos) return FromPem(text, any, ask);
  // Before DER, which base64 that begins with "0" looks like; no key in DER is all of base64's letters.
  if (const auto octets = DecodeBase64(text)) return FromBase64(*octets, ask);
  if (!content.empty() && content[0] == 0x30) return FromDer(content, "DER", ask);
  if (content.size() == kEd25519Octets || content.size() == 2 * kEd25519Octets) {
    return Not("raw octets, which may be half a key as well as a seed: write an Ed25519 seed in base64");
  }
  return Not("this is no private key: expected PEM, DER, or base64");
}

Result<PrivateKey> ReadPrivateKey(const std::filesystem::path& file, const AskPassPhrase& ask) {
  const auto content = ReadSecretOctets(file);
  if (!content) return content.error();
  auto key = ParsePrivateKey(*content, ask);
  if (!key) return MakeError(key.error().reason, file.string() + ": " + key.error().message);
  return key;
}

}  // namespace hallmark::migration
