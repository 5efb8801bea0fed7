#include <algorithm>

#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::pkcs11 {

// The private object goes first: without it nothing can be signed, and the public one that a cut leaves behind still
// says whose it was.
Status Session::Destroy(ByteView cka_id, ByteView spki) {
  std::vector<CK_OBJECT_HANDLE> pair;
  bool nobodys = spki.empty();  // and without a private object nothing can sign with it
  for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
    const auto found = FindObjects(object_class, cka_id);
    if (!found) return found.error();
    if (found->size() > 1) return MakeError(Reason::kTokenRefused, "the token has several keys with this CKA_ID");
    pair.insert(pair.end(), found->begin(), found->end());
    if (object_class == CKO_PRIVATE_KEY) nobodys = nobodys && found->empty();
  }
  bool matches = pair.empty() || nobodys;
  for (const CK_OBJECT_HANDLE object : pair) {
    if (nobodys) break;
    const auto type = TypeOf(object);
    if (!type) return type.error();
    const auto public_part = PublicPart(*type, object);
    // An Ed25519 private key need not know its public part; the other object does.
    if (!public_part && RecoveryFor(public_part.error()) != Recovery::kNone) return public_part.error();
    if (!public_part) continue;
    matches = std::equal(spki.begin(), spki.end(), public_part->begin(), public_part->end());
    if (!matches) break;
  }
  if (!matches) return MakeError(Reason::kKeyMismatch, "the token's key is not the one to be destroyed");
  for (const CK_OBJECT_HANDLE object : pair) {
    const CK_RV value = (*module_)->C_DestroyObject(handle_, object);
    if (!IsOk(value)) return Fail(value, "C_DestroyObject");
  }
  return Ok();
}

}  // namespace hallmark::pkcs11
