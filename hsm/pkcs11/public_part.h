#pragma once

#include "firmware/runtime/result.h"

// From what a token says of a public key to SubjectPublicKeyInfo (DER), the form in which keys are recorded.
namespace hallmark::pkcs11 {

// Big-endian numbers, as in CKA_MODULUS and CKA_PUBLIC_EXPONENT.
Result<Bytes> RsaSpki(ByteView modulus, ByteView exponent);

// CKA_EC_POINT as modules give it: the raw 32 octets, or those in a DER OCTET STRING or BIT STRING.
Result<Bytes> Ed25519Spki(ByteView ec_point);

// The size of the key; 0 when `spki` is none.
unsigned BitsOf(ByteView spki);

}  // namespace hallmark::pkcs11
