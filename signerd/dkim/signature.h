#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/field_selection.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// What all signatures of one message share: the fields that are signed, and their canonical form. Views into the header
// and the profile.
struct SignedFields {
  FieldSelection selection;
  std::string canonical;
};

// kFromMissing, kHeaderTooLarge (h= would be longer than kMaxSignedNames). Pure; any thread.
Result<SignedFields> CanonicalizeFields(const Header& header, const PreparedProfile& profile);

// What one signature is made of.
struct SignatureSpec {
  const SignedFields& fields;  // of `profile`
  const PreparedProfile& profile;
  std::string_view domain;    // d=, A-label
  std::string_view selector;  // s=, lower case
  Algorithm algorithm;
  Canonicalization body_canonicalization;  // that of body_hash
  const BodyHash& body_hash;
  std::chrono::sys_seconds time;
};

// A DKIM-Signature field that lacks nothing but the signature.
struct PreparedSignature {
  std::string field;        // from "DKIM-Signature:" to "b="
  std::string signed_data;  // the canonical header data (RFC 6376 section 3.7) that is hashed
  Digest digest{};          // SHA-256 of signed_data
};

// Whether `profile` can sign for this domain (lower case, A-labels): its i= is within d=. kInvalidArgument.
Status CheckAuidFor(const SigningProfile& profile, std::string_view signing_domain);

// Lays the field out for good and hashes the header with it: the octets that are hashed are the octets that will be
// emitted, with an empty b=. Pure; any thread. kInvalidArgument: d= or s= cannot be one, i= is not within d=.
Result<PreparedSignature> PrepareSignature(const SignatureSpec& spec);

// The complete field, ASCII, folded to 78 columns where it can be, with one final CRLF.
std::string AssembleField(const PreparedSignature& prepared, ByteView signature);

}  // namespace hallmark::dkim
