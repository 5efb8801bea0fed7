#include "firmware/runtime/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "firmware/runtime/file.h"

namespace hallmark {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Error Invalid(const std::filesystem::path& file, const std::string& what) {
  ERR_clear_error();
  return MakeError(Reason::kConfigInvalid, file.string() + ": " + what);
}

Certificate NextCertificate(BIO& pem) { return {PEM_read_bio_X509(&pem, nullptr, nullptr, nullptr), &X509_free}; }

Result<Certificate> ReadCertificate(const std::filesystem::path& file) {
  const auto pem = ReadFile(file, 1 << 20);
  if (!pem) return pem.error();
  const Bio bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())), &BIO_free);
  Certificate certificate = NextCertificate(*bio);
  if (certificate == nullptr) return Invalid(file, "not a PEM certificate");
  return certificate;
}

// An encrypted key cannot be used by a daemon that starts alone.
int NoPassword(char*, int, int, void*) { return -1; }

Result<PrivateKey> ReadPrivateKey(const std::filesystem::path& file) {
  auto pem = ReadFile(file, 1 << 20);
  if (!pem) return pem.error();
  const Bio bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())), &BIO_free);
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, nullptr), &EVP_PKEY_free);
  OPENSSL_cleanse(pem->data(), pem->size());
  if (key == nullptr) return Invalid(file, "not an unencrypted PEM private key");
  return key;
}

}  // namespace

Status CheckCertificate(const std::filesystem::path& certificate) {
  const auto parsed = ReadCertificate(certificate);
  if (!parsed) return parsed.error();
  if (X509_cmp_current_time(X509_get0_notBefore(parsed->get())) > 0) return Invalid(certificate, "not valid yet");
  if (X509_cmp_current_time(X509_get0_notAfter(parsed->get())) < 0) {
    return Invalid(certificate, "has expired: renew it");
  }
  return Ok();
}

Status CheckPrivateKey(const std::filesystem::path& private_key, const std::filesystem::path& certificate) {
  const auto key = ReadPrivateKey(private_key);
  if (!key) return key.error();
  const auto parsed = ReadCertificate(certificate);
  if (parsed && X509_check_private_key(parsed->get(), key->get()) != 1) {
    return Invalid(private_key, "not the private key of " + certificate.string());
  }
  return Ok();
}

Status CheckClientCa(const std::filesystem::path& client_ca) {
  const auto pem = ReadFile(client_ca, 1 << 20);
  if (!pem) return pem.error();
  const Bio bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())), &BIO_free);
  int count = 0;
  while (NextCertificate(*bio) != nullptr) ++count;
  const bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!ended && count != 0) {
    return Invalid(client_ca, "certificate " + std::to_string(count + 1) + " of it cannot be read");
  }
  if (count == 0) return Invalid(client_ca, "not a PEM certificate");
  ERR_clear_error();
  return Ok();
}

}  // namespace hallmark
