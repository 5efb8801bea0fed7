#include "hsm/pkcs11/key_template.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::pkcs11 {

Result<NewPair> Session::MakePair(const KeySpec& spec, const ObjectName& name, bool in_token) {
  if (spec.type == KeyType::kRsa && spec.bits != 2048 && spec.bits != 3072 && spec.bits != 4096) {
    return MakeError(Reason::kInvalidArgument,
                     "an RSA key of " + std::to_string(spec.bits) + " bits: expected 2048, 3072 or 4096");
  }
  const auto present = FindObjects(CKO_PRIVATE_KEY, name.cka_id);
  if (!present) return present.error();
  if (!present->empty()) return MakeError(Reason::kTokenRefused, "the token has a key with this CKA_ID already");
  const Status alone = in_token ? RemoveOrphan(name.cka_id, CK_INVALID_HANDLE) : Ok();
  if (!alone) return alone.error();

  NewPair pair;
  const auto generate = [&](CK_MECHANISM_TYPE mechanism_type, Template public_template) {
    CK_MECHANISM mechanism{mechanism_type, nullptr, 0};
    Template private_template = PrivateTemplate(name.cka_id, name.label, in_token, module_->signs_by_decrypting());
    return (*module_)->C_GenerateKeyPair(handle_, &mechanism, public_template.data(), public_template.size(),
                                         private_template.data(), private_template.size(), &pair.public_key,
                                         &pair.private_key);
  };
  CK_RV value = CKR_OK;
  Template wanted = PublicTemplate(name.cka_id, name.label, in_token);
  const CK_ULONG modulus_bits = spec.bits;
  switch (spec.type) {
    case KeyType::kRsa:
      wanted.Add(CKA_MODULUS_BITS, modulus_bits);
      wanted.Add(CKA_PUBLIC_EXPONENT, ByteView(kRsaExponent));
      value = generate(CKM_RSA_PKCS_KEY_PAIR_GEN, wanted);
      break;
    case KeyType::kEd25519:
      for (const ByteView curve : kCurveSpellings) {
        Template spelled = wanted;
        spelled.Add(CKA_EC_PARAMS, curve);
        value = generate(CKM_EC_EDWARDS_KEY_PAIR_GEN, spelled);
        if (IsOk(value) || MakeTokenError(value, "").reason != Reason::kTokenRefused) break;
      }
      break;
  }
  if (IsOk(value)) return pair;
  Error error = Fail(value, "C_GenerateKeyPair");
  const std::string kind = spec.type == KeyType::kRsa ? "RSA-" + std::to_string(spec.bits) : "Ed25519";
  error.message = "no " + kind + " key was made: " + error.message;
  return error;
}

// A public object alone is what is left of a pair whose making was cut short (power, the end of tokend), and nobody can
// have signed with it. Beside a new pair under the same CKA_ID it would be taken for that one's.
Status Session::RemoveOrphan(ByteView cka_id, CK_OBJECT_HANDLE own) {
  const auto found = FindObjects(CKO_PUBLIC_KEY, cka_id);
  if (!found) return found.error();
  for (const CK_OBJECT_HANDLE object : *found) {
    if (object == own) continue;
    // Who is not logged in sees no private objects, and takes half of a good pair for an orphan.
    const Status logged_in = CheckLoggedIn();
    if (!logged_in) return logged_in;
    const CK_RV value = (*module_)->C_DestroyObject(handle_, object);
    if (!IsOk(value)) return Fail(value, "C_DestroyObject");
  }
  return Ok();
}

void Session::DestroyPair(const NewPair& pair) {
  for (const CK_OBJECT_HANDLE object : {pair.private_key, pair.public_key}) {
    if (object != CK_INVALID_HANDLE) (*module_)->C_DestroyObject(handle_, object);
  }
}

// Where the token was in trouble a handle may be another object's by now (the way to the token was lost and found
// again), so the objects are looked for anew; what is not found then is found later by its CKA_ID, which whoever asked
// for it knows.
void Session::Discard(const NewPair& pair, ByteView cka_id, const Error& error) {
  if (RecoveryFor(error) == Recovery::kNone) {
    DestroyPair(pair);
  } else {
    static_cast<void>(DestroyAll(cka_id));  // what the caller is told is the error that came first
  }
}

Result<KeyPair> Session::CheckMade(const NewPair& pair, ByteView cka_id) {
  // By its handles: to look through all objects of a token takes longer the more there are.
  auto made = Describe(pair.private_key, pair.public_key);
  if (made && made->sensitive && !made->extractable) return made;
  // A key that nobody knows, or that can be taken out, must not stay.
  const Error error =
      made ? MakeError(Reason::kTokenRefused, "the token made a key that can be taken out of it") : made.error();
  Discard(pair, cka_id, error);
  return error;
}

Result<KeyPair> Session::Generate(const KeySpec& spec, const ObjectName& name) {
  const auto pair = MakePair(spec, name, true);
  if (!pair) return pair.error();
  return CheckMade(*pair, name.cka_id);
}

Result<NewPair> Session::GenerateForSession(const KeySpec& spec, const ObjectName& name) {
  return MakePair(spec, name, false);
}

Result<KeyPair> Session::Keep(const NewPair& pair, ByteView cka_id) {
  const Status alone = RemoveOrphan(cka_id, pair.public_key);
  if (!alone) {
    if (usable_) DestroyPair(pair);
    return alone.error();
  }
  Template in_token;
  in_token.Add(CKA_TOKEN, kTrue);
  NewPair kept;
  CK_RV value = (*module_)->C_CopyObject(handle_, pair.public_key, in_token.data(), in_token.size(), &kept.public_key);
  if (IsOk(value)) {
    value = (*module_)->C_CopyObject(handle_, pair.private_key, in_token.data(), in_token.size(), &kept.private_key);
  }
  if (!IsOk(value)) {
    const Error error = Fail(value, "C_CopyObject");
    kept.private_key = CK_INVALID_HANDLE;
    Discard(kept, cka_id, error);
    if (usable_) DestroyPair(pair);
    return error;
  }
  DestroyPair(pair);
  return CheckMade(kept, cka_id);
}

}  // namespace hallmark::pkcs11
