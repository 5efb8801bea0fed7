#pragma once

#include <filesystem>
#include <string>

#include "firmware/runtime/result.h"

// A configuration under its signature: CMS SignedData (RFC 5652), DER, with the content and the signer's certificate
// inside; `openssl cms -verify -noverify -inform DER` shows the content.
namespace hallmark::provision {

// Who signed.
struct Signer {
  std::string subject;      // of the certificate, one line, printable ASCII
  std::string fingerprint;  // SHA-256 of the certificate, "AB:CD:..."
  std::string key;  // SHA-256 of its public key, lower-case hexadecimal: what stays when the certificate is renewed
};

struct Signed {
  std::string content;
  Signer signer;
  bool by_owner = false;  // the certificate is under the owner's CA
};

// DER. Both files are PEM; the key's passphrase, if it has one, is asked for on the terminal. kConfigInvalid says which
// file will not do; kDeadlineExceeded where the certificate is not valid now.
Result<std::string> Sign(std::string_view content, const std::filesystem::path& key,
                         const std::filesystem::path& certificate);

// Checks the signature and that the signer's certificate is valid now; and, where `owner_ca` is not empty, that it is
// under one of the CAs in that file: kConfigInvalid otherwise. kDeadlineExceeded: the signature is good, and the
// certificate or the CA's not valid by this machine's clock, yet or any more; a clock may be set in a moment. Without
// `owner_ca` whoever signed is taken, and the caller has to judge `signer`. `der` is foreign: any octets. `name` is for
// messages.
Result<Signed> Open(std::string_view der, const std::string& name, const std::filesystem::path& owner_ca);

// The content alone, whoever signed it and whether the signature is good or not: tells a file that is known already
// from a new one, and nothing more. kConfigInvalid: there is none. `der` is foreign.
Result<std::string> ContentOf(std::string_view der, const std::string& name);

}  // namespace hallmark::provision
