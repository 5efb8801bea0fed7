#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "firmware/runtime/result.h"

// The frames between signerd and tokend, and their octets. Both ends share this codec, and neither trusts the other.
//
// A frame is: payload length (u32), type (u8), payload. Integers are big endian; an octet string is its length (u32)
// and its octets. A frame that is too long, ends early, has octets left over or a value that does not exist is an
// error, and the link is closed: there is no resynchronisation.
namespace hallmark::link {

inline constexpr std::uint16_t kVersion = 6;
inline constexpr std::size_t kMaxFrame = 4u << 20;  // octets of payload
inline constexpr std::size_t kMaxBatch = 1024;      // items in a batch

enum class KeyType : std::uint8_t { kRsa = 1, kEd25519 = 2 };

// What a signature is made of: a digest (32 octets of SHA-256), or the data itself for a token, or a key, that insists
// on hashing.
enum class InputKind : std::uint8_t { kDigest = 1, kData = 2 };

enum class Outcome : std::uint8_t {
  kOk = 0,
  kKeyUndefined,  // no DefineKey came for this key_ref
  kKeyMissing,    // the token has no object with this CKA_ID
  kKeyMismatch,   // its public part is not the recorded one
  kTokenDown,
  kPinRejected,
  kTokenRefused,  // the token said no to this key or mechanism
  kExpired,       // the batch's time was up before a session was free
  kInvalid,       // the item makes no sense
  kStale,         // a key was wrapped for an earlier wrapping key
  kWantsData,     // this key may not sign a digest: to be sent again as InputKind::kData
};

enum class TokenState : std::uint8_t { kStarting = 1, kReady, kAbsent, kPinRejected, kDown };

// tokend -> signerd, first.
struct Hello {
  std::uint16_t version = kVersion;
  std::uint32_t pid = 0;
};

// tokend -> signerd, on every change.
struct TokenStatus {
  TokenState state = TokenState::kStarting;
  std::uint64_t token_code = 0;  // the CK_RV behind `message`, 0 where there is none
  std::string message, label, serial, manufacturer, model;
  std::uint32_t sessions = 0;    // how many C_Sign can be in flight
  std::uint64_t generation = 0;  // grows with every login
  std::uint8_t wants_data = 0;   // bit 0: RSA needs InputKind::kData
  std::uint8_t cannot_make = 0;  // pairs of which the token says so: bit 0 RSA, bit 1 Ed25519
};

// signerd -> tokend: what `key_ref` means on this link from now on.
struct DefineKey {
  std::uint32_t key_ref = 0;
  KeyType type = KeyType::kRsa;
  Bytes cka_id;
  Bytes spki;  // the recorded public part (SubjectPublicKeyInfo, DER), which the token's object must match
};

struct SignItem {
  std::uint64_t id = 0;  // chosen by signerd, unique among those in flight
  std::uint32_t key_ref = 0;
  InputKind kind = InputKind::kDigest;
  Bytes input;
};

// signerd -> tokend.
struct SignBatch {
  std::uint32_t timeout_ms = 0;  // from arrival
  std::vector<SignItem> items;
};

struct SignOutcome {
  std::uint64_t id = 0;
  Outcome outcome = Outcome::kOk;
  std::uint64_t token_code = 0;
  Bytes signature;
};

// tokend -> signerd: what has finished, in any order and grouping.
struct SignResults {
  std::vector<SignOutcome> outcomes;
};

// signerd -> tokend: make a pair of key objects. Answered by a KeyReply with the same id.
struct GenerateKey {
  std::uint64_t id = 0;
  KeyType type = KeyType::kRsa;
  std::uint32_t bits = 0;  // RSA only
  Bytes cka_id;
  std::string label;
};

// signerd -> tokend: describe a pair that is in the token. Answered by a KeyReply with the same id.
struct FindKey {
  std::uint64_t id = 0;
  Bytes cka_id;
};

// signerd -> tokend: destroy the pair with this CKA_ID, if its public part is this one. Answered by a KeyReply with the
// same id: success where there is none.
struct DestroyKey {
  std::uint64_t id = 0;
  Bytes cka_id;
  Bytes spki;
};

// signerd -> tokend: which RSA public key is a private key to be wrapped for? Answered by a KeyReply with the same id,
// whose `spki` it is; good until this tokend ends or logs in again.
struct BeginImport {
  std::uint64_t id = 0;
};

// signerd -> tokend: put a pair into the token. signerd cannot read what is wrapped. Answered by a KeyReply with the
// same id.
struct ImportKey {
  std::uint64_t id = 0;
  Bytes cka_id;
  std::string label;
  Bytes wrapping_key_sha256;  // of its SubjectPublicKeyInfo
  Bytes wrapped_secret;       // an AES-256 key, RSA-OAEP (SHA-1, MGF1 with SHA-1)
  Bytes wrapped_key;          // PKCS#8, DER, wrapped with that: AES key wrap with padding (RFC 5649)
  Bytes spki;                 // the public part, which what is unwrapped must match
};

// tokend -> signerd: from now on, until the KeyReply of this key call, what is to be signed may have to wait for it: it
// has a token's only session for itself (`alone`), or makes a key, and many tokens do one thing at a time.
struct KeyCallBegun {
  std::uint64_t id = 0;
  std::uint8_t alone = 0;
};

struct KeyReply {
  std::uint64_t id = 0;
  Outcome outcome = Outcome::kOk;
  std::uint64_t token_code = 0;
  std::string message;
  KeyType type = KeyType::kRsa;
  std::uint32_t bits = 0;
  Bytes spki;
  std::uint8_t sensitive = 0, extractable = 0, never_extractable = 0;
};

// Answered at once by the other end's I/O thread; says nothing about the module.
struct Ping {
  std::uint64_t id = 0;
};
struct Pong {
  std::uint64_t id = 0;
};

using Frame = std::variant<Hello, TokenStatus, DefineKey, SignBatch, SignResults, GenerateKey, FindKey, KeyReply, Ping,
                           Pong, DestroyKey, BeginImport, ImportKey, KeyCallBegun>;

// The octets of a frame. kInternal when it is larger than kMaxFrame or kMaxBatch allow.
Result<Bytes> Encode(const Frame& frame);

// Takes octets as they come and gives frames. Never holds more than one frame and what was pushed. Not thread-safe.
class Decoder {
 public:
  void Push(ByteView octets);
  // The next whole frame; nothing when more octets are needed; kInvalidArgument when the octets are no frame, for good.
  Result<std::optional<Frame>> Next();

 private:
  Bytes buffer_;
  std::size_t start_ = 0;  // of what is not decoded yet
};

}  // namespace hallmark::link
