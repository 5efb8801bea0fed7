#pragma once

#include <p11-kit/pkcs11.h>

#include <array>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"

// The attributes that key objects are made with, whichever way they are made.
namespace hallmark::pkcs11 {

// The curve of Ed25519 in CKA_EC_PARAMS, as modules spell it, in the order in which they are asked: PrintableString
// "edwards25519" (PKCS#11 3.0); the object identifier 1.3.101.112 (RFC 8410); and 1.3.6.1.4.1.11591.15.1, which was
// there before both (Luna among others).
inline constexpr std::array<std::uint8_t, 14> kCurveName = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
                                                            'd',  's',  '2', '5', '5', '1', '9'};
inline constexpr std::array<std::uint8_t, 5> kCurveOid = {0x06, 0x03, 0x2b, 0x65, 0x70};
inline constexpr std::array<std::uint8_t, 11> kOlderCurveOid = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04,
                                                                0x01, 0xda, 0x47, 0x0f, 0x01};
inline constexpr std::array<ByteView, 3> kCurveSpellings = {kCurveName, kCurveOid, kOlderCurveOid};

inline constexpr std::array<std::uint8_t, 3> kRsaExponent = {0x01, 0x00, 0x01};

inline constexpr CK_BBOOL kTrue = CK_TRUE;
inline constexpr CK_BBOOL kFalse = CK_FALSE;

// PKCS#11 takes its input through pointers that are not const.
inline CK_BYTE_PTR Octets(ByteView view) { return const_cast<CK_BYTE_PTR>(view.data()); }

// Refers to what it is given, which must outlive it.
class Template {
 public:
  void Add(CK_ATTRIBUTE_TYPE type, ByteView value) { attributes_.push_back({type, Octets(value), value.size()}); }
  void Add(CK_ATTRIBUTE_TYPE type, const CK_BBOOL& value) {
    attributes_.push_back({type, const_cast<CK_BBOOL*>(&value), 1});
  }
  void Add(CK_ATTRIBUTE_TYPE type, const CK_ULONG& value) {
    attributes_.push_back({type, const_cast<CK_ULONG*>(&value), sizeof value});
  }
  CK_ATTRIBUTE* data() { return attributes_.data(); }
  CK_ULONG size() const { return attributes_.size(); }

 private:
  std::vector<CK_ATTRIBUTE> attributes_;
};

// A private key that signs, does nothing else, and never leaves the token. Not `in_token`: it goes with its session.
// `may_decrypt`: nothing is said of decrypting, which the module then allows (Module::signs_by_decrypting).
inline Template PrivateTemplate(ByteView cka_id, const std::string& label, bool in_token = true,
                                bool may_decrypt = false) {
  Template out;
  out.Add(CKA_TOKEN, in_token ? kTrue : kFalse);
  out.Add(CKA_PRIVATE, kTrue);
  out.Add(CKA_SENSITIVE, kTrue);
  out.Add(CKA_EXTRACTABLE, kFalse);
  out.Add(CKA_SIGN, kTrue);
  if (!may_decrypt) out.Add(CKA_DECRYPT, kFalse);
  out.Add(CKA_UNWRAP, kFalse);
  out.Add(CKA_ID, cka_id);
  out.Add(CKA_LABEL, AsBytes(label));
  return out;
}

inline Template PublicTemplate(ByteView cka_id, const std::string& label, bool in_token = true) {
  Template out;
  out.Add(CKA_TOKEN, in_token ? kTrue : kFalse);
  out.Add(CKA_PRIVATE, kFalse);
  out.Add(CKA_VERIFY, kTrue);
  out.Add(CKA_ID, cka_id);
  out.Add(CKA_LABEL, AsBytes(label));
  return out;
}

}  // namespace hallmark::pkcs11
