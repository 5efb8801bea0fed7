#pragma once

#include <openssl/cms.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "signerd/backup/archive.h"

// The envelope of a backup: a CMS message (RFC 5083 AuthEnvelopedData, AES-256 in GCM), encrypted for certificates. It
// is written and read as it comes, at any length; `openssl cms -decrypt -inform DER` opens one that fits into memory.
namespace hallmark::backup {

// A certificate that a backup can be encrypted for: RSA of at least 2048 bits, or an elliptic curve of NIST.
// kConfigInvalid says what is wrong. Any thread.
Status CheckRecipient(const std::filesystem::path& certificate);

// Encrypts. Not thread-safe.
class Sealer {
 public:
  // `sink` is given the message in pieces. kConfigInvalid where a recipient cannot be used.
  static Result<Sealer> Begin(const std::vector<std::filesystem::path>& recipients, OctetSink sink);

  // kIoFailed beyond 64 GiB, which is what GCM protects under one key; the sink's errors.
  Status Write(std::string_view octets);
  // Ends the message: without it nobody takes it for whole.
  Status Finish();

 private:
  struct FreeChain {
    void operator()(BIO* bio) const { BIO_free_all(bio); }
  };
  struct FreeMessage {
    void operator()(CMS_ContentInfo* message) const { CMS_ContentInfo_free(message); }
  };
  using Message = std::unique_ptr<CMS_ContentInfo, FreeMessage>;
  using Chain = std::unique_ptr<BIO, FreeChain>;
  Sealer(Message message, Chain chain, BIO* out, OctetSink sink)
      : message_(std::move(message)), chain_(std::move(chain)), out_(out), sink_(std::move(sink)) {}
  Status Drain();

  Message message_;
  Chain chain_;  // encrypts, frames; its last one, out_, is memory that is emptied after each write
  BIO* out_;
  OctetSink sink_;
};

// Decrypts the file `backup` with a PEM private key, for whose pass phrase OpenSSL asks on the terminal. What it gives
// is only known to be whole and unchanged when it returns Ok: until then it must not be used. kNotFound, kIoFailed;
// kInvalidArgument: not a backup, not encrypted for this key, or changed; the sink's errors. Any thread.
Status Unseal(const std::filesystem::path& backup, const std::filesystem::path& private_key, const OctetSink& sink);

}  // namespace hallmark::backup
