#include "firmware/runtime/issue_certificate.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>

#include "firmware/runtime/openssl_reason.h"
namespace hallmark {
namespace {

constexpr long kDay = 86400;
constexpr long kAuthorityDays = 3650;
constexpr long kLeafDays = 730;
constexpr long kClockSkew = 3600;  // seconds that a clock elsewhere may be behind
constexpr int kSerialBits = 127;
// Of what is known by its very certificate, so that its dates say nothing: from before there was any box, to what RFC
// 5280 (4.1.2.5) would have as 99991231235959Z. But from 2262 on nanoseconds have no room in 64 bits, and a program
// that counts in these would take it for expired.
constexpr const char* kLongAgo = "20200101000000Z";
constexpr const char* kNoEnd = "21991231235959Z";

Error OpensslError(const char* what) {
  return MakeError(Reason::kInternal, std::string("cannot ") + what + OpenSslReason());
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()), &X509_EXTENSION_free);
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool SetSerial(X509* certificate) {
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(BN_new(), &BN_free);
  return number != nullptr && BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool SetName(X509* certificate, const std::string& common_name) {
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

std::string AltName(const Subject& subject) {
  std::string text;
  const auto add = [&](const char* type, const std::vector<std::string>& values) {
    for (const std::string& value : values) text += (text.empty() ? "" : ",") + std::string(type) + value;
  };
  add("DNS:", subject.dns_names);
  add("IP:", subject.ip_addresses);
  add("URI:", subject.uris);
  return text;
}

bool SetDays(X509* certificate, long days) {
  return X509_gmtime_adj(X509_getm_notBefore(certificate), -kClockSkew) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), days * kDay) != nullptr;
}

bool SetForEver(X509* certificate) {
  return ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), kLongAgo) == 1 &&
         ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), kNoEnd) == 1;
}

std::unique_ptr<EVP_PKEY, FreeKey> NewKey() { return std::unique_ptr<EVP_PKEY, FreeKey>(EVP_EC_gen("P-256")); }

std::unique_ptr<EVP_PKEY, FreeKey> ReadKey(std::string_view pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                      &BIO_free);
  const auto no_password = [](char*, int, int, void*) { return -1; };
  return std::unique_ptr<EVP_PKEY, FreeKey>(
      bio == nullptr ? nullptr : PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
}

// A certificate for `key` that lacks its dates, issuer, extensions and signature.
Result<Identity> Begin(const std::string& common_name, std::unique_ptr<EVP_PKEY, FreeKey> key) {
  Identity identity;
  identity.key = std::move(key);
  identity.certificate.reset(X509_new());
  X509* certificate = identity.certificate.get();
  if (!identity.key || certificate == nullptr || X509_set_version(certificate, X509_VERSION_3) != 1 ||
      !SetSerial(certificate) || !SetName(certificate, common_name) ||
      X509_set_pubkey(certificate, identity.key.get()) != 1) {
    return OpensslError("make a certificate");
  }
  return identity;
}

template <class Write>
Result<std::string> ToPem(const Write& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_secmem()), &BIO_free);
  if (bio == nullptr || write(bio.get()) != 1) return OpensslError("write PEM");
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

Result<Identity> MakeAuthority(const std::string& common_name) {
  auto identity = Begin(common_name, NewKey());
  if (!identity) return identity;
  X509* certificate = identity->certificate.get();
  if (!SetDays(certificate, kAuthorityDays) ||
      X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) != 1 ||
      !AddExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(certificate, certificate, NID_subject_key_identifier, "hash") ||
      X509_sign(certificate, identity->key.get(), EVP_sha256()) == 0) {
    return OpensslError("make a CA certificate");
  }
  return identity;
}

Result<Identity> MakeSelfSigned(const Subject& subject, std::string_view private_key) {
  auto identity = Begin(subject.common_name, private_key.empty() ? NewKey() : ReadKey(private_key));
  if (!identity) return identity;
  X509* certificate = identity->certificate.get();
  if (!SetForEver(certificate) || X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) != 1 ||
      !AddExtension(certificate, certificate, NID_subject_key_identifier, "hash") ||
      !AddExtension(certificate, certificate, NID_subject_alt_name, AltName(subject)) ||
      X509_sign(certificate, identity->key.get(), EVP_sha256()) == 0) {
    return OpensslError("make a certificate");
  }
  return identity;
}

Result<Identity> IssueCertificate(const Identity& authority, const Subject& subject) {
  auto identity = Begin(subject.common_name, NewKey());
  if (!identity) return identity;
  X509* certificate = identity->certificate.get();
  X509* issuer = authority.certificate.get();
  if (!SetDays(certificate, kLeafDays) || X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1 ||
      !AddExtension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(certificate, issuer, NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(certificate, issuer, NID_ext_key_usage,
                    subject.usage == Usage::kServer ? "serverAuth" : "clientAuth") ||
      !AddExtension(certificate, issuer, NID_subject_key_identifier, "hash") ||
      !AddExtension(certificate, issuer, NID_authority_key_identifier, "keyid:always") ||
      !AddExtension(certificate, issuer, NID_subject_alt_name, AltName(subject)) ||
      X509_sign(certificate, authority.key.get(), EVP_sha256()) == 0) {
    return OpensslError("issue a certificate");
  }
  return identity;
}

Result<std::string> CertificatePem(const Identity& identity) {
  return ToPem([&](BIO* bio) { return PEM_write_bio_X509(bio, identity.certificate.get()); });
}

Result<std::string> PrivateKeyPem(const Identity& identity) {
  return ToPem([&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, identity.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
}

std::string Fingerprint(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return "";
  std::string text;
  char octet[4];
  for (unsigned i = 0; i < size; ++i) {
    std::snprintf(octet, sizeof octet, i == 0 ? "%02X" : ":%02X", digest[i]);
    text += octet;
  }
  return text;
}

}  // namespace hallmark
