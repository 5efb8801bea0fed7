#include "signerd/ledger/checkpoint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "firmware/runtime/encoding.h"

namespace hallmark::ledger {
namespace {

constexpr std::uint8_t kEd25519 = 0x01;  // signature type of a note

Error Wrong(const std::string& what) { return MakeError(Reason::kInvalidArgument, "checkpoint: " + what); }

std::string_view TakeLine(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// The signature of `key` in a note's signature lines; nothing when there is none.
Bytes FindSignature(std::string_view lines, const VerifierKey& key) {
  const std::string begin = std::string(kSignatureLine) + key.name + " ";
  const auto id = key.Id();
  while (!lines.empty()) {
    const std::string_view line = TakeLine(lines);
    if (!line.starts_with(begin)) continue;
    const auto octets = Base64Decode(line.substr(begin.size()));
    if (!octets || octets->size() <= id.size() || !std::equal(id.begin(), id.end(), octets->begin())) continue;
    return Bytes(octets->begin() + id.size(), octets->end());
  }
  return {};
}

}  // namespace

std::array<std::uint8_t, 4> VerifierKey::Id() const {
  std::string text = name + "\n" + static_cast<char>(kEd25519);
  text.append(key.begin(), key.end());
  std::array<std::uint8_t, 32> digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return {digest[0], digest[1], digest[2], digest[3]};
}

std::string VerifierKey::Text() const {
  Bytes typed = {kEd25519};
  typed.insert(typed.end(), key.begin(), key.end());
  return name + "+" + HexEncode(Id()) + "+" + Base64Encode(typed);
}

Result<VerifierKey> VerifierKey::Parse(std::string_view text) {
  const auto wrong = [](const char* what) {
    return MakeError(Reason::kInvalidArgument, std::string("verifier key: ") + what);
  };
  const std::size_t first = text.find('+');
  const std::size_t second = first == std::string_view::npos ? first : text.find('+', first + 1);
  if (second == std::string_view::npos) return wrong("expected NAME+KEY-ID+KEY");
  VerifierKey parsed;
  parsed.name = text.substr(0, first);
  if (!IsOrigin(parsed.name)) return wrong("its name is empty or has white space");
  const auto typed = Base64Decode(text.substr(second + 1));
  if (!typed || typed->size() != 1 + parsed.key.size() || typed->front() != kEd25519) {
    return wrong("it is not of Ed25519");
  }
  std::copy(typed->begin() + 1, typed->end(), parsed.key.begin());
  if (text.substr(first + 1, second - first - 1) != HexEncode(parsed.Id())) return wrong("its key id is wrong");
  return parsed;
}

Result<VerifierKeys> ParseVerifierKeys(std::string_view text) {
  VerifierKeys keys;
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    if (line.empty()) continue;
    auto key = VerifierKey::Parse(line);
    if (!key) return key.error();
    keys.push_back(std::move(*key));
  }
  if (keys.empty()) return MakeError(Reason::kInvalidArgument, "verifier key: there is none");
  return keys;
}

std::string TextOf(const VerifierKeys& keys) {
  std::string text;
  for (const VerifierKey& key : keys) text += key.Text() + "\n";
  return text;
}

bool VerifierKey::Verify(std::string_view text, ByteView signature) const {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> handle(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()), &EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  return handle != nullptr && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, handle.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), AsBytes(text).data(), text.size()) == 1;
}

bool IsOrigin(std::string_view name) {
  return !name.empty() && name.size() <= 255 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f' && c != '+'; });
}

std::string CheckpointBody(std::string_view origin, const TreeHead& head) {
  return std::string(origin) + "\n" + std::to_string(head.size) + "\n" + Base64Encode(head.root) + "\n";
}

std::string SignedNote(std::string_view body, const VerifierKey& key, ByteView signature) {
  const auto id = key.Id();
  Bytes octets(id.begin(), id.end());
  octets.insert(octets.end(), signature.begin(), signature.end());
  return std::string(body) + "\n" + std::string(kSignatureLine) + key.name + " " + Base64Encode(octets) + "\n";
}

Result<TreeHead> ParseCheckpoint(std::string_view note) {
  std::string_view rest = note;
  if (!IsOrigin(TakeLine(rest))) return Wrong("its first line is not an origin");
  const std::string_view number = TakeLine(rest);
  TreeHead head;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), head.size);
  if (number.empty() || error != std::errc() || end != number.data() + number.size() ||
      (number.size() > 1 && number.front() == '0')) {
    return Wrong("its second line is not a tree size");
  }
  const auto root = Base64Decode(TakeLine(rest));
  if (!root || root->size() != head.root.size()) return Wrong("its third line is not a root hash");
  std::copy(root->begin(), root->end(), head.root.begin());
  return head;
}

Result<TreeHead> OpenCheckpoint(std::string_view note, const VerifierKey& key) {
  const std::size_t end = note.find("\n\n");
  if (end == std::string_view::npos) return Wrong("it has no signature");
  const std::string_view body = note.substr(0, end + 1);
  if (!body.starts_with(key.name + "\n")) return Wrong("it is of another log than " + key.name);
  const Bytes signature = FindSignature(note.substr(end + 2), key);
  if (signature.empty()) return Wrong("it is not signed by " + key.name);
  if (!key.Verify(body, signature)) return Wrong("its signature does not verify");
  return ParseCheckpoint(note);
}

Result<TreeHead> OpenCheckpoint(std::string_view note, const VerifierKeys& keys, std::size_t& number) {
  Result<TreeHead> head = Wrong("there is no key that could have signed it");
  // The newest first: its error is the one to tell.
  for (number = keys.size(); number-- > 0;) {
    auto opened = OpenCheckpoint(note, keys[number]);
    if (opened) return opened;
    if (number + 1 == keys.size()) head = std::move(opened);
  }
  return head;
}

std::size_t EndOfNote(std::string_view content) {
  const std::size_t body = content.find("\n\n");  // ends the body
  if (body == std::string_view::npos) return body;
  const std::size_t signatures = content.find("\n\n", body + 2);
  return signatures == std::string_view::npos ? signatures : signatures + 1;
}

std::vector<std::string> SplitCheckpoints(std::string_view content) {
  std::vector<std::string> notes;
  while (true) {
    const std::size_t note = EndOfNote(content);
    if (note == std::string_view::npos) return notes;
    notes.emplace_back(content.substr(0, note));
    content.remove_prefix(note + 1);
  }
}

}  // namespace hallmark::ledger
