#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};

// A certificate and its private key, EC P-256.
struct Identity {
  std::unique_ptr<EVP_PKEY, FreeKey> key;
  std::unique_ptr<X509, FreeCertificate> certificate;
};

enum class Usage { kServer, kClient };

// What an end entity's certificate says.
struct Subject {
  std::string common_name;
  std::vector<std::string> dns_names, ip_addresses, uris;  // subjectAltName
  Usage usage = Usage::kClient;
};

// A self-signed CA that may sign end entities only, good for ten years.
Result<Identity> MakeAuthority(const std::string& common_name);

// A server's certificate that is its own authority: whoever calls is given this very certificate. It is good whatever
// the clock says, here or there: a wrong one at a first boot, or without a battery at any later one, keeps nobody from
// it. `private_key`, PEM, is one that is there already; empty: a new one. kInternal where that cannot be read.
Result<Identity> MakeSelfSigned(const Subject& subject, std::string_view private_key = {});

// A certificate for `subject` under `authority`, good for two years.
Result<Identity> IssueCertificate(const Identity& authority, const Subject& subject);

Result<std::string> CertificatePem(const Identity& identity);
Result<std::string> PrivateKeyPem(const Identity& identity);  // PKCS#8, not encrypted

// SHA-256 of the certificate as a person compares it: "AB:CD:...", as openssl x509 -fingerprint has it.
std::string Fingerprint(const X509* certificate);

}  // namespace hallmark
