#include "firmware/provision/recipients.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <memory>

#include "firmware/runtime/issue_certificate.h"
#include "firmware/runtime/openssl_reason.h"

namespace hallmark::provision {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Cms = std::unique_ptr<CMS_ContentInfo, decltype(&CMS_ContentInfo_free)>;

Bio Reading(std::string_view octets) {
  return {BIO_new_mem_buf(octets.data(), static_cast<int>(octets.size())), &BIO_free_all};
}

int CountCertificates(std::string_view pem) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  int count = 0;
  for (std::size_t at = 0; (at = pem.find(kBegin, at)) != std::string_view::npos; at += kBegin.size()) ++count;
  return count;
}

// With OAEP where the key is RSA.
bool Encrypts(X509* certificate) {
  const Bio data = Reading("a key");
  const Cms cms(CMS_encrypt(nullptr, data.get(), EVP_aes_256_gcm(), CMS_BINARY | CMS_PARTIAL), &CMS_ContentInfo_free);
  if (!cms) return false;
  CMS_RecipientInfo* const recipient = CMS_add1_recipient_cert(cms.get(), certificate, CMS_KEY_PARAM);
  if (recipient == nullptr) return false;
  if (EVP_PKEY_get_base_id(X509_get0_pubkey(certificate)) == EVP_PKEY_RSA &&
      EVP_PKEY_CTX_set_rsa_padding(CMS_RecipientInfo_get0_pkey_ctx(recipient), RSA_PKCS1_OAEP_PADDING) != 1) {
    return false;
  }
  return CMS_final(cms.get(), data.get(), nullptr, CMS_BINARY) == 1;
}

}  // namespace

Status CheckRecipients(std::string_view pem, const std::string& name) {
  const auto invalid = [&](const std::string& what) { return MakeError(Reason::kConfigInvalid, name + ": " + what); };
  const int count = CountCertificates(pem);
  if (count == 0) return invalid("holds no PEM certificate of anybody who may recover the state");
  const Bio bio = Reading(pem);
  for (int number = 1; number <= count; ++number) {
    const std::string which = "certificate " + std::to_string(number);
    ERR_clear_error();
    const std::unique_ptr<X509, FreeCertificate> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) return invalid(which + " cannot be read" + OpenSslReason());
    if (!Encrypts(certificate.get())) {
      return invalid("nothing can be encrypted for " + which + "; take one with an RSA or an EC key" + OpenSslReason());
    }
  }
  return Ok();
}

}  // namespace hallmark::provision
