#include "signerd/backup/envelope.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <array>
#include <cstdio>

#include "firmware/runtime/openssl_reason.h"
#include "signerd/backup/sealed_file.h"

namespace hallmark::backup {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* handle) const {
    Free(handle);
  }
};
using Certificate = std::unique_ptr<X509, Freed<&X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freed<&EVP_PKEY_free>>;
using OneBio = std::unique_ptr<BIO, Freed<&BIO_free>>;
using BioMethod = std::unique_ptr<BIO_METHOD, Freed<&BIO_meth_free>>;

constexpr int kSmallestRsa = 2048;
constexpr std::size_t kPiece = 64 << 10;
constexpr char kKinds[] = "RSA of at least 2048 bits, or an elliptic curve (P-256, P-384, P-521)";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

Result<Certificate> ReadRecipient(const std::filesystem::path& path) {
  const auto wrong = [&](const std::string& what) {
    return MakeError(Reason::kConfigInvalid, path.string() + ": " + what);
  };
  const File file(std::fopen(path.c_str(), "re"));
  if (file == nullptr) return wrong("cannot be read");
  Certificate certificate(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return wrong("is no certificate in PEM" + OpenSslReason());
  EVP_PKEY* const key = X509_get0_pubkey(certificate.get());
  const int kind = key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key);
  if (kind == EVP_PKEY_EC || (kind == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) >= kSmallestRsa)) return certificate;
  return wrong(std::string("nothing can be encrypted for its key; expected ") + kKinds);
}

// SHA-256 throughout, and OAEP: what OpenSSL does by itself is SHA-1, and PKCS #1 v1.5.
bool SetParameters(EVP_PKEY_CTX* context, bool rsa) {
  if (context == nullptr) return false;
  if (rsa) {
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1;
  }
  return EVP_PKEY_CTX_set_ecdh_kdf_md(context, EVP_sha256()) == 1;
}

Status AddRecipient(CMS_ContentInfo* message, const std::filesystem::path& path) {
  const auto certificate = ReadRecipient(path);
  if (!certificate) return certificate.error();
  CMS_RecipientInfo* const recipient = CMS_add1_recipient_cert(message, certificate->get(), CMS_KEY_PARAM);
  const bool rsa = EVP_PKEY_get_base_id(X509_get0_pubkey(certificate->get())) == EVP_PKEY_RSA;
  if (recipient == nullptr || !SetParameters(CMS_RecipientInfo_get0_pkey_ctx(recipient), rsa)) {
    return MakeError(Reason::kConfigInvalid, path.string() + ": a backup cannot be encrypted for it" + OpenSslReason());
  }
  return Ok();
}

// A source of octets for OpenSSL: the content of a SealedFile. Its data pointer is a Content.
struct Content {
  SealedFile& file;
  Status read = Ok();  // the first error
};

int ReadContent(BIO* bio, char* out, int most) {
  auto& content = *static_cast<Content*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto got = content.file.Read(out, static_cast<std::size_t>(most));
  if (got) return static_cast<int>(*got);
  content.read = got.error();
  return -1;
}

long NoControl(BIO*, int, long, void*) { return 0; }

Result<PrivateKey> ReadKey(const std::filesystem::path& path) {
  const File file(std::fopen(path.c_str(), "re"));
  if (file == nullptr) return MakeError(Reason::kNotFound, path.string() + ": cannot be read");
  PrivateKey key(PEM_read_PrivateKey(file.get(), nullptr, nullptr, nullptr));
  if (key == nullptr)
    return MakeError(Reason::kInvalidArgument, path.string() + ": is no private key in PEM" + OpenSslReason());
  return key;
}

}  // namespace

Status CheckRecipient(const std::filesystem::path& certificate) {
  const auto read = ReadRecipient(certificate);
  return read ? Ok() : Status(read.error());
}

Result<Sealer> Sealer::Begin(const std::vector<std::filesystem::path>& recipients, OctetSink sink) {
  constexpr unsigned kFlags = CMS_BINARY | CMS_STREAM | CMS_PARTIAL;
  Message message(CMS_encrypt(nullptr, nullptr, EVP_aes_256_gcm(), kFlags));
  if (message == nullptr) return MakeError(Reason::kInternal, "no CMS message can be made" + OpenSslReason());
  for (const auto& path : recipients) {
    const Status added = AddRecipient(message.get(), path);
    if (!added) return added.error();
  }
  BIO* const out = BIO_new(BIO_s_mem());
  Chain chain(out == nullptr ? nullptr : BIO_new_CMS(out, message.get()));
  if (chain == nullptr) {
    BIO_free(out);
    return MakeError(Reason::kInternal, "no CMS message can be begun" + OpenSslReason());
  }
  return Sealer(std::move(message), std::move(chain), out, std::move(sink));
}

Status Sealer::Write(std::string_view octets) {
  while (!octets.empty()) {
    const std::string_view piece = octets.substr(0, kPiece);
    if (BIO_write(chain_.get(), piece.data(), static_cast<int>(piece.size())) != static_cast<int>(piece.size())) {
      return MakeError(Reason::kIoFailed,
                       "the backup cannot be encrypted further (it may have 64 GiB)" + OpenSslReason());
    }
    octets.remove_prefix(piece.size());
    const Status drained = Drain();
    if (!drained) return drained;
  }
  return Ok();
}

Status Sealer::Drain() {
  char* octets = nullptr;
  const long count = BIO_get_mem_data(out_, &octets);
  const Status taken = count > 0 ? sink_({octets, static_cast<std::size_t>(count)}) : Ok();
  static_cast<void>(BIO_reset(out_));  // of memory: always done
  return taken;
}

Status Sealer::Finish() {
  if (BIO_flush(chain_.get()) != 1) return MakeError(Reason::kInternal, "the backup cannot be ended" + OpenSslReason());
  return Drain();
}

Status Unseal(const std::filesystem::path& backup, const std::filesystem::path& private_key, const OctetSink& sink) {
  const auto key = ReadKey(private_key);
  if (!key) return key.error();
  auto file = SealedFile::Open(backup);
  if (!file) return file.error();
  const auto refused = [&](const std::string& what) {
    return MakeError(Reason::kInvalidArgument, backup.string() + ": " + what);
  };
  const OneBio envelope(BIO_new_mem_buf(file->envelope().data(), static_cast<int>(file->envelope().size())));
  const std::unique_ptr<CMS_ContentInfo, Freed<&CMS_ContentInfo_free>> message(d2i_CMS_bio(envelope.get(), nullptr));
  if (message == nullptr) return refused("is not a backup" + OpenSslReason());
  if (CMS_decrypt_set1_pkey(message.get(), key->get(), nullptr) != 1) {
    ERR_clear_error();
    return refused("is not encrypted for the key in " + private_key.string());
  }
  Content content{*file};
  const BioMethod method(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sealed file"));
  if (method == nullptr || BIO_meth_set_read(method.get(), &ReadContent) != 1 ||
      BIO_meth_set_ctrl(method.get(), &NoControl) != 1) {
    return MakeError(Reason::kInternal, "OpenSSL has no memory");
  }
  const OneBio source(BIO_new(method.get()));
  BIO_set_data(source.get(), &content);
  BIO_set_init(source.get(), 1);
  // The cipher in front of `source`, which is not freed with it.
  BIO* const plain = CMS_dataInit(message.get(), source.get());
  if (plain == nullptr) return refused("cannot be decrypted" + OpenSslReason());
  const OneBio cipher(plain);
  std::array<char, kPiece> piece{};
  Status taken = Ok();
  int count = 0;
  while (taken && (count = BIO_read(plain, piece.data(), static_cast<int>(piece.size()))) > 0) {
    taken = sink({piece.data(), static_cast<std::size_t>(count)});
  }
  const bool whole = taken && content.read && BIO_get_cipher_status(plain) == 1;
  ERR_clear_error();
  BIO_pop(plain);
  if (!content.read) return content.read;
  // With another RSA key than the recipients' the octets are noise, which neither the archive nor GCM takes: so that
  // nobody learns from the difference which part was wrong.
  if (!taken && taken.error().reason != Reason::kInvalidArgument) return taken;
  if (!whole) return refused("was changed or damaged, or is not encrypted for the key in " + private_key.string());
  return Ok();
}

}  // namespace hallmark::backup
