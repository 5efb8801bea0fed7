#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

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
Answer<Identity> MakeAuthority(const std::string& common_name);

// A certificate for `subject` under `authority`, good for two years.
Answer<Identity> IssueCertificate(const Identity& authority, const Subject& subject);

Answer<std::string> CertificatePem(const Identity& identity);
Answer<std::string> PrivateKeyPem(const Identity& identity);  // PKCS#8, not encrypted

}  // namespace hallmark::ctl
