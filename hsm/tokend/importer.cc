#include "hsm/tokend/importer.h"

#include <openssl/sha.h>

#include "firmware/runtime/log.h"
#include "hsm/pkcs11/public_part.h"

namespace hallmark::tokend {
namespace {

Bytes Sha256(const Bytes& octets) {
  Bytes digest(SHA256_DIGEST_LENGTH);
  SHA256(octets.data(), octets.size(), digest.data());
  return digest;
}

// What came out of the token is what was sent, signs, and stays.
Result<pkcs11::KeyPair> Checked(pkcs11::Session& session, const link::ImportKey& call, bool data) {
  auto made = session.Find(call.cka_id);
  if (!made) return made;
  if (made->spki != call.spki) {
    return MakeError(Reason::kKeyMismatch, "the private key is not that of the public key");
  }
  if (made->extractable || !made->sensitive) {
    return MakeError(Reason::kTokenRefused, "the token took the key in a form that can be taken out of it again");
  }
  const Status proved = session.Prove(*made, data);
  if (!proved) return proved.error();
  return made;
}

}  // namespace

Result<Bytes> Importer::Begin(pkcs11::Session& session) {
  if (begun()) return spki();
  auto in_token = session.GenerateWrappingPair();
  if (in_token) {
    in_token_ = std::move(*in_token);
    return in_token_->spki;
  }
  if (in_token.error().reason != Reason::kTokenRefused) return in_token.error();
  log::info("import: the token makes no pair that unwraps keys ({}): tokend does", in_token.error().message);
  auto own = pkcs11::OwnWrappingPair::Generate();
  if (!own) return own.error();
  own_.emplace(std::move(*own));
  return own_->spki();
}

void Importer::Forget() {
  in_token_.reset();
  own_.reset();
}

Result<pkcs11::KeyPair> Importer::Import(pkcs11::Session& session, const link::ImportKey& call, bool data) {
  if (!begun() || Sha256(spki()) != call.wrapping_key_sha256) {
    return MakeError(Reason::kStateConflict, "the key was wrapped for an earlier wrapping key: begin the import again");
  }
  const auto type = pkcs11::KeyTypeOf(call.spki);
  if (!type) return type.error();
  const Status free = session.CheckFree(call.cka_id);
  if (!free) return free.error();
  // The public object first: where all ends after that (power, this process), it says whose the private one is, which
  // need not know it itself, so that the pair can be found and destroyed.
  Status put = session.CreatePublicKey(call.spki, {call.cka_id, call.label});
  if (put) put = Put(session, call, *type);
  auto made = put ? Checked(session, call, data) : Result<pkcs11::KeyPair>(put.error());
  if (made) return made;
  // A key that is not what was asked for, or of which nobody knows, must not stay.
  const Status destroyed = session.DestroyAll(call.cka_id);
  if (destroyed) return made;
  Error error = made.error();
  error.message += "; what was made of it could not be destroyed: " + destroyed.error().message;
  return error;
}

Status Importer::Put(pkcs11::Session& session, const link::ImportKey& call, pkcs11::KeyType type) {
  if (!in_token_) return PutFromMemory(session, call);
  const pkcs11::WrappedKey wrapped{call.wrapped_secret, call.wrapped_key};
  const Status unwrapped = session.UnwrapPrivateKey(*in_token_, wrapped, type, {call.cka_id, call.label});
  if (unwrapped || unwrapped.error().reason != Reason::kTokenRefused) return unwrapped;
  // Tokens unwrap some kinds of keys only (SoftHSM 2.6: RSA), and all say the same of a key that is broken.
  log::info("import: the token did not unwrap the key ({}): tokend does", unwrapped.error().message);
  Status anew = session.DestroyAll(call.cka_id);
  if (anew) anew = session.CreatePublicKey(call.spki, {call.cka_id, call.label});
  return anew ? PutFromMemory(session, call) : anew;
}

Status Importer::PutFromMemory(pkcs11::Session& session, const link::ImportKey& call) {
  const auto secret = in_token_ ? session.DecryptSecret(*in_token_, {call.wrapped_secret, call.wrapped_key})
                                : own_->Decrypt(call.wrapped_secret);
  if (!secret) return secret.error();
  const auto pkcs8 = pkcs11::UnwrapWithSecret(secret->view(), call.wrapped_key);
  if (!pkcs8) return pkcs8.error();
  const auto part = pkcs11::ParsePkcs8(pkcs8->view());
  if (!part) return part.error();
  if (part->spki != call.spki) {
    return MakeError(Reason::kKeyMismatch, "the private key is not that of the public key");
  }
  return session.CreatePrivateKey(*part, {call.cka_id, call.label});
}

}  // namespace hallmark::tokend
