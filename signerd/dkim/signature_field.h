#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// A DKIM-Signature field, taken apart (RFC 6376 section 3.5).
struct SignatureField {
  Algorithm algorithm = Algorithm::kRsaSha256;
  Canonicalization header = Canonicalization::kSimple, body = Canonicalization::kSimple;
  std::string domain, selector;                // lower case
  std::string auid_domain;                     // of i=; d= where there is none
  std::vector<std::string_view> signed_names;  // h=; views into the field
  Digest body_hash{};
  Bytes signature;
  std::optional<std::uint64_t> body_length;
  std::optional<std::chrono::sys_seconds> signed_at, expires;
  std::string without_signature;  // the raw field with the value of b= deleted, and no final CRLF
  std::string_view raw;           // the field, within its header
};

// kInvalidArgument, with another sentence for each fault.
Result<SignatureField> ParseSignatureField(const Field& field);

// The digest of the header data that a signature covers (RFC 6376 section 3.7).
Digest HeaderHash(const Header& header, const SignatureField& signature);

// What a verdict names, also where the field as a whole cannot be parsed: the values as written.
struct SignatureNames {
  std::string domain, selector, algorithm, canonicalization;
};
SignatureNames NamesOf(const Field& field);

}  // namespace hallmark::dkim
