#pragma once

#include "hsm/link/frame.h"
#include "hsm/pkcs11/session.h"

// Between what the link says and what pkcs11 says.
namespace hallmark::tokend {

inline pkcs11::KeyType ToPkcs11(link::KeyType type) {
  switch (type) {
    case link::KeyType::kRsa: return pkcs11::KeyType::kRsa;
    case link::KeyType::kEd25519: return pkcs11::KeyType::kEd25519;
  }
  return pkcs11::KeyType::kRsa;
}

inline link::KeyType ToLink(pkcs11::KeyType type) {
  switch (type) {
    case pkcs11::KeyType::kRsa: return link::KeyType::kRsa;
    case pkcs11::KeyType::kEd25519: return link::KeyType::kEd25519;
  }
  return link::KeyType::kRsa;
}

// What a key may be called, and how long it may be. No token takes nearly as much.
inline constexpr std::size_t kLongestName = 255, kLongestSpki = 4096, kLargestWrapped = 16384;
inline bool FitsKey(const Bytes& cka_id, const Bytes& spki, const std::string& label = "") {
  return cka_id.size() <= kLongestName && spki.size() <= kLongestSpki && label.size() <= kLongestName;
}

// What signerd is told of a failure, beside its CK_RV.
inline link::Outcome OutcomeOf(const Error& error) {
  switch (error.reason) {
    case Reason::kNotFound: return link::Outcome::kKeyUndefined;
    case Reason::kKeyMissing: return link::Outcome::kKeyMissing;
    case Reason::kKeyMismatch: return link::Outcome::kKeyMismatch;
    case Reason::kTokenRefused: return link::Outcome::kTokenRefused;
    case Reason::kPinRejected: return link::Outcome::kPinRejected;
    case Reason::kInvalidArgument: return link::Outcome::kInvalid;
    case Reason::kStateConflict: return link::Outcome::kStale;
    default: return link::Outcome::kTokenDown;
  }
}

// Why nothing can be done in this state of the token, which has no login.
inline Error NoLogin(link::TokenState state) {
  const bool pin = state == link::TokenState::kPinRejected;
  return MakeError(pin ? Reason::kPinRejected : Reason::kTokenDown, "the token is not logged in to");
}

}  // namespace hallmark::tokend
