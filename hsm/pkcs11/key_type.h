#pragma once

#include <p11-kit/pkcs11.h>

#include <cstdint>

namespace hallmark::pkcs11 {

enum class KeyType : std::uint8_t { kRsa, kEd25519 };

// CKA_KEY_TYPE.
inline constexpr CK_KEY_TYPE kRsaType = CKK_RSA, kEdwardsType = CKK_EC_EDWARDS;

constexpr const CK_KEY_TYPE& NumberOf(KeyType type) {
  switch (type) {
    case KeyType::kRsa: return kRsaType;
    case KeyType::kEd25519: return kEdwardsType;
  }
  return kRsaType;
}

}  // namespace hallmark::pkcs11
