#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "check.h"
#include "opendkim_verify.h"
#include "signerd/dkim/key_record.h"
#include "tests/signerd/dkim/signing.h"

// The input chooses a message, line by line, and a profile. Whatever we sign, our verifier and libopendkim find good;
// and neither does any more when an octet of what is signed is another.
namespace {

using namespace hallmark;
using namespace hallmark::dkim;
using dkim_test::kNow;

constexpr std::array kNames = {"To",       "Subject", "Date",     "Message-ID",   "Cc",       "Reply-To",
                               "Received", "List-Id", "X-Other",  "Content-Type", "SUBJECT",  "MIME-Version",
                               "Sender",   "x-o",     "Comments", "References",   "Resent-To"};
constexpr std::array kPieces = {
    "a",        " ",    "  ",      "\t",        "\r\n ",   "\r\n\t", "word", "=?utf-8?q?=C3=A4?=",
    "\xc3\xa4", "\xe4", ":",       "; b=x",     "<a@b.c>", "\"q\"",  "(c)",  "=20",
    ".",        ",",    "From: x", "0123456789"};
constexpr std::array kBodyPieces = {"\r\n",         "\r\n\r\n", " ",          "\t",     "  \t ",     "a",
                                    "line of text", ".",        "..",         "=20",    "\xc3\xa4",  "\xff",
                                    "--b",          "\r\n ",    "\r\n\t\r\n", "From x", "0123456789"};

template <std::size_t N>
std::string Pieces(FuzzedDataProvider& input, const std::array<const char*, N>& from, std::size_t most) {
  std::string text;
  for (std::size_t count = input.ConsumeIntegralInRange<std::size_t>(0, most); count > 0; --count) {
    text += from[input.ConsumeIntegralInRange<std::size_t>(0, N - 1)];
  }
  return text;
}

// A field's value: no line of it is empty or white space alone, which RFC 5322 has as obsolete and verifiers disagree
// on.
std::string Value(FuzzedDataProvider& input) {
  std::string value = input.ConsumeBool() ? " " : "";
  value += Pieces(input, kPieces, 12);
  std::string kept;
  std::size_t at = 0;
  while (at <= value.size()) {
    const std::size_t end = std::min(value.find("\r\n", at), value.size());
    const std::string_view line = std::string_view(value).substr(at, end - at);
    if (at == 0 || line.find_first_not_of(" \t") != std::string_view::npos)
      kept += (at == 0 ? "" : "\r\n") + std::string(line);
    at = end + 2;
  }
  return kept;
}

std::string Message(FuzzedDataProvider& input) {
  std::string message;
  const std::size_t count = input.ConsumeIntegralInRange<std::size_t>(0, 12);
  const std::size_t from = input.ConsumeIntegralInRange<std::size_t>(0, count);
  for (std::size_t i = 0; i <= count; ++i) {
    if (i == from)
      message += input.ConsumeBool() ? "From: Joe <joe@example.com>\r\n" : "FROM:joe@example.com (\r\n\tJoe )  \r\n";
    if (i == count) break;
    const std::string name = kNames[input.ConsumeIntegralInRange<std::size_t>(0, kNames.size() - 1)];
    message += name + (input.ConsumeIntegralInRange<int>(0, 9) == 0 ? " :" : ":") + Value(input) + "\r\n";
  }
  return message + "\r\n" + Pieces(input, kBodyPieces, 60);
}

dkim_test::Signing How(FuzzedDataProvider& input) {
  dkim_test::Signing how;
  const auto either = [&] { return input.ConsumeBool() ? Canonicalization::kRelaxed : Canonicalization::kSimple; };
  how.profile.header = either();
  how.profile.body = either();
  how.profile.timestamp = input.ConsumeBool();
  how.profile.query_method = input.ConsumeBool();
  how.profile.copied_fields = input.ConsumeBool();
  how.profile.body_length = input.ConsumeBool();
  if (input.ConsumeBool()) how.profile.signed_fields = {"Subject", "To", "X-Other", "List-Id", "Received"};
  if (input.ConsumeBool()) how.profile.oversigned_fields = {"Subject", "Cc", "X-Missing"};
  if (input.ConsumeBool()) how.profile.auid = "joe@mail.example.com";
  how.key = &dkim_test::Rsa2048();  // libopendkim of Debian 12 has no Ed25519
  how.chunk = input.ConsumeIntegralInRange<std::size_t>(1, 300);
  return how;
}

// One without a name in a folder: libFuzzer ends by _Exit, so that nothing would remove it.
const char* KeyFile() {
  static const std::string path = [] {
    const int fd = ::memfd_create("fuzz_sign", MFD_CLOEXEC);  // open as long as the process is there
    const std::string line = "sel._domainkey.example.com " + KeyRecordValue(dkim_test::Rsa2048().Public()) + "\n";
    Check(fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "a key file");
    return "/proc/self/fd/" + std::to_string(fd);
  }();
  return path.c_str();
}

void Insist(bool holds, const char* why, const std::string& message) {
  if (holds) return;
  std::fprintf(stderr, "%s\n%s\n", why, dkim_test::Escaped(message).c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const dkim_test::Signing how = How(input);
  const std::size_t flipped = input.ConsumeIntegral<std::uint32_t>();
  std::string message = Message(input);
  // As SMTP gives it. libopendkim does not always add the CRLF that a body without one gets (RFC 6376 section 3.4.4).
  if (!message.ends_with("\r\n")) message += "\r\n";
  const auto prepared = dkim_test::Prepare(message, how);
  Insist(prepared.has_value(), "a message that is well formed is signed", message);
  const std::string field = AssembleField(*prepared, how.key->Sign(prepared->digest));
  const std::string whole = field + message;
  const dkim_test::Zone zone = dkim_test::ZoneOf(how);
  const std::string ours = dkim_test::Verdicts(whole, zone);
  Insist(ours == "pass", ours.c_str(), whole);
  const char* theirs = OpenDkimRefuses(KeyFile(), whole.data(), whole.size());
  Insist(theirs == nullptr, theirs, whole);

  // Any octet of the field itself that is no white space and not within a fold of b= counts.
  std::string changed = whole;
  const std::size_t at = flipped % field.find("b=");
  if (std::isalnum(static_cast<unsigned char>(changed[at])) == 0 || at < sizeof "DKIM-Signature") return 0;
  changed[at] = changed[at] == 'x' ? 'y' : 'x';
  Insist(dkim_test::Verdicts(changed, zone) != "pass", "a changed signature field passes", changed);
  return 0;
}
