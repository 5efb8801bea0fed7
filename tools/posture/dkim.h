#pragma once

#include <optional>
#include <string>
#include <vector>

#include "signerd/dkim/public_key.h"
#include "tools/posture/lookup.h"

namespace hallmark::posture {

// What a key's record should be, by the key's state.
enum class KeyUse : std::uint8_t {
  kNamed,      // by its selector only: taken to be in use
  kUpcoming,   // made, perhaps published
  kActive,     // signs, or may any moment
  kRetiring,   // signs no longer; what it signed is under way
  kRevoked,    // its record has an empty p=, or is gone
  kWithdrawn,  // its record is gone
};

struct Selector {
  std::string name;  // s=
  KeyUse use = KeyUse::kNamed;
  // SubjectPublicKeyInfo, DER: the key in the HSM. Empty where it is not known.
  Bytes spki;
  // Where the record itself is kept, when the domain delegates it by a CNAME; empty: at the selector.
  std::string kept_at;
};

// sel._domainkey.example.com
std::string SelectorName(const std::string& selector, const std::string& domain);

// The key records of `domain`. `auid` is the i= that its profile asks for, or empty.
void CheckDkim(const std::string& domain, const std::vector<Selector>& selectors, const std::string& auid, Dns& dns,
               Report& report);

}  // namespace hallmark::posture
