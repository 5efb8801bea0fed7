#include <algorithm>
#include <array>
#include <string>

#include "check.h"
#include "memory_file.h"
#include "signerd/ledger/checkpoint.h"
#include "signerd/ledger/checkpoint_file.h"

// A checkpoint, a file of them, and verifier keys. What opens with the seeds' key states what was signed with it: its
// private key made the seeds and nothing else.
namespace {

using namespace hallmark;
using namespace hallmark::ledger;

constexpr std::string_view kKey = "example.com/ledger+ec4d6e6d+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
constexpr std::array<std::uint64_t, 7> kSignedSizes = {0, 1, 2, 5, 9, 77, 1234567};

// Whether the seeds' key signed it.
bool CheckNote(std::string_view note) {
  static const VerifierKey key = VerifierKey::Parse(kKey).value();
  const auto head = ParseCheckpoint(note);
  if (head) {
    const std::string_view origin = note.substr(0, note.find('\n'));
    const std::string body = CheckpointBody(origin, *head);
    Check(note.starts_with(body) || note == std::string_view(body).substr(0, body.size() - 1),
          "there is one way to write a head");
  }
  const auto opened = OpenCheckpoint(note, key);
  if (!opened) return false;
  Check(head && *head == *opened, "a signature does not change what it says");
  Check(std::find(kSignedSizes.begin(), kSignedSizes.end(), opened->size) != kSignedSizes.end(),
        "what opens was signed");
  std::size_t number = 9;
  const auto any = OpenCheckpoint(note, VerifierKeys{key, VerifierKey{"other", {}}}, number);
  Check(any && *any == *opened && number == 0, "it opens with one of several keys");
  return true;
}

void CheckKeys(std::string_view text) {
  const auto key = VerifierKey::Parse(text);
  Check(!key || key->Text() == text, "there is one way to write a key");
  const auto keys = ParseVerifierKeys(text);
  if (!keys) return;
  const auto again = ParseVerifierKeys(TextOf(*keys));
  Check(again && *again == *keys, "keys read the same");
}

void CheckFile(std::string_view octets) {
  static MemoryFile file;
  file.Write(octets);
  std::vector<std::string> notes;
  auto reader = CheckpointReader::Open(file.path());
  Check(reader.has_value(), "a file opens");
  auto note = reader->Next();
  for (; note && *note; note = reader->Next()) notes.emplace_back(**note);
  Check(reader->count() == notes.size(), "notes are counted");
  auto all = SplitCheckpoints(octets);
  std::size_t end = 0;
  for (const std::string& one : all) end += one.size() + 1;
  // A note with a hole at the end of the file was being written.
  if (!all.empty() && end == octets.size() && all.back().find('\0') != all.back().npos) all.pop_back();
  if (note) Check(notes == all, "a file read in pieces has the notes of the whole");

  const auto newest = NewestCheckpoint(file.path());
  if (newest) {
    Check(newest->end <= octets.size() && (newest->end == 0) == newest->note.empty(), "the end is in the file");
    Check(octets.substr(0, newest->end).ends_with(newest->note.empty() ? "" : newest->note + "\n"),
          "the newest one ends there");
    const auto head = ParseCheckpoint(newest->note);
    Check(newest->note.empty() || (head && *head == newest->head), "the head is that of the note");
  }
  bool ours = note && !notes.empty();  // a file as signerd writes it, whose last note may be cut off
  std::size_t whole = 0;
  for (const std::string& one : notes) {
    ours = CheckNote(one) && ours && std::count(one.begin(), one.end(), '\n') == 5;
    whole += one.size() + 1;
  }
  if (!ours || octets.find("\n\n", whole) != std::string_view::npos) return;
  Check(newest && newest->note == notes.back() && newest->end == whole, "the newest is the last one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  CheckNote(octets);
  CheckKeys(octets);
  CheckFile(octets);
  return 0;
}
