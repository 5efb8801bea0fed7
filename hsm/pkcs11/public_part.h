#pragma once

#include "firmware/runtime/result.h"
#include "hsm/pkcs11/key_type.h"

// From what a token says of a public key to SubjectPublicKeyInfo (DER), the form in which keys are recorded.
struct evp_pkey_st;

namespace hallmark::pkcs11 {

// kTokenRefused where there is no key, or none that has a public part.
Result<Bytes> SpkiOf(const evp_pkey_st* key);

// Big-endian numbers, as in CKA_MODULUS and CKA_PUBLIC_EXPONENT.
Result<Bytes> RsaSpki(ByteView modulus, ByteView exponent);

// CKA_EC_POINT as modules give it: the raw 32 octets, or those in a DER OCTET STRING or BIT STRING.
Result<Bytes> Ed25519Spki(ByteView ec_point);

// Whether `signature` is a DKIM signature over the 32-octet digest: PKCS#1 v1.5 over SHA-256, or PureEdDSA over those
// octets.
bool Verifies(ByteView spki, ByteView digest, ByteView signature);

// kInvalidArgument where it is neither RSA nor Ed25519.
Result<KeyType> KeyTypeOf(ByteView spki);

// A public key by its parts, as C_CreateObject takes them, big endian.
struct PublicNumbers {
  Bytes modulus, exponent;  // RSA
  Bytes point;              // Ed25519, raw
};
Result<PublicNumbers> NumbersOf(ByteView spki);

// The size of the key; 0 when `spki` is none.
unsigned BitsOf(ByteView spki);

}  // namespace hallmark::pkcs11
