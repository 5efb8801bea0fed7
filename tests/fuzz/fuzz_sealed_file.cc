#include <algorithm>
#include <string>

#include "check.h"
#include "memory_file.h"
#include "signerd/backup/envelope.h"
#include "signerd/backup/sealed_file.h"

// A backup's file, taken apart, and opened with a key that some of the seeds are for. Whatever opens holds what one of
// them held: nobody else has made one for this key.
namespace {

using namespace hallmark;
using namespace hallmark::backup;

constexpr char kRecipient[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEYGC2p5Ssh23YX6a\n"
    "eTOWuWFdj1bg1uC1Qm4C5CSPY4ChRANCAAT2mJJtp0fVJAQ2IGqPR8hMrHtQRqrn\n"
    "0chbd0jpKAX3SG7vLpZ7bLwfMpP0yTjI6wBnr1MjgbrrNpwvEWou9owv\n"
    "-----END PRIVATE KEY-----\n";

// What was sealed; the longer one is the first line over and over.
constexpr std::string_view kLine = "What a backup holds.\n", kShort = "format = 1\nhost_name = \"mail\"\n";

bool WasSealed(std::string_view content) {
  if (content == kShort) return true;
  if (content.size() != 150 * kLine.size()) return false;
  for (; !content.empty(); content.remove_prefix(kLine.size())) {
    if (!content.starts_with(kLine)) return false;
  }
  return true;
}

// The encrypted content, read in steps of `most`.
Result<std::string> Content(const std::string& path, std::size_t most, std::string& envelope) {
  auto file = SealedFile::Open(path);
  if (!file) return file.error();
  envelope = file->envelope();
  std::string content, step(most, '\0');
  while (true) {
    const auto got = file->Read(step.data(), step.size());
    if (!got) return got.error();
    if (*got == 0) return content;
    Check(*got <= most, "no more is read than there is room for");
    content.append(step, 0, *got);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  static const MemoryFile key(kRecipient);
  file.Write({reinterpret_cast<const char*>(data), size});
  std::string envelope;
  const auto content = Content(file.path(), 4096, envelope);
  if (content) {
    std::string again;
    const auto small = Content(file.path(), 7, again);
    Check(small && *small == *content && again == envelope, "steps change nothing");
    Check(content->size() + envelope.size() <= size, "nothing is there twice");
  } else {
    Check(content.error().reason == Reason::kInvalidArgument && !content.error().message.empty(),
          "a fault has a sentence");
  }
  std::string opened;
  const Status done = Unseal(file.path(), key.path(), [&opened](std::string_view octets) {
    opened += octets;
    return Ok();
  });
  if (done) {
    Check(content.has_value(), "what opens has the shape of a backup");
    Check(WasSealed(opened), "what opens is as it was sealed");
  } else {
    Check(done.error().reason == Reason::kInvalidArgument && !done.error().message.empty(), "a fault has a sentence");
  }
  return 0;
}
