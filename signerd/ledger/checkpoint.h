#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/ledger/merkle.h"

// Checkpoints of the ledger: C2SP tlog-checkpoint in a C2SP signed-note with one Ed25519 signature. All: any thread.
namespace hallmark::ledger {

struct TreeHead {
  std::uint64_t size = 0;
  Hash root = EmptyRoot();
  friend bool operator==(const TreeHead&, const TreeHead&) = default;
};

// Who signs: the note's verifier key.
struct VerifierKey {
  std::string name;
  std::array<std::uint8_t, 32> key{};  // Ed25519, raw

  // First four octets of SHA-256(name, LF, 0x01, key).
  std::array<std::uint8_t, 4> Id() const;
  // "<name>+<key id in hexadecimal>+<base64 of 0x01 and the key>"
  std::string Text() const;
  static Result<VerifierKey> Parse(std::string_view text);
  bool Verify(std::string_view text, ByteView signature) const;
  friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};

// Those that signed one after the other, the oldest first: the last one signs. There is a further one where the token
// of the one before was lost.
using VerifierKeys = std::vector<VerifierKey>;
// A line for each. At least one; kInvalidArgument says what is wrong.
Result<VerifierKeys> ParseVerifierKeys(std::string_view text);
std::string TextOf(const VerifierKeys& keys);

// Whether it can be the name of a key and the origin of a log: not empty, no white space, no plus sign.
bool IsOrigin(std::string_view name);

// What is signed: "<origin>\n<size>\n<base64 of the root>\n".
std::string CheckpointBody(std::string_view origin, const TreeHead& head);
std::string SignedNote(std::string_view body, const VerifierKey& key, ByteView signature);

// The head that a note states, without a look at its signature. kInvalidArgument says what is wrong.
Result<TreeHead> ParseCheckpoint(std::string_view note);
// The same, if `key` signed it.
Result<TreeHead> OpenCheckpoint(std::string_view note, const VerifierKey& key);
// The same, if one of `keys` signed it; `number` becomes the number of that one.
Result<TreeHead> OpenCheckpoint(std::string_view note, const VerifierKeys& keys, std::size_t& number);

// How many octets the note has that `content` begins with, without the empty line that follows it; npos: it is not
// whole.
std::size_t EndOfNote(std::string_view content);
// The notes in `content`, each followed by an empty line; octets after the last whole one are left out. For few of
// them; the ledger's own file has its reader (checkpoint_file.h).
std::vector<std::string> SplitCheckpoints(std::string_view content);

// What a note's line with a signature begins with: an em dash and a blank. No other line does.
constexpr std::string_view kSignatureLine = "\u2014 ";

}  // namespace hallmark::ledger
