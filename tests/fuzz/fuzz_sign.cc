#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <string>

#include "choices.h"
#include "memory_file.h"
#include "naive_header.h"
#include "opendkim_verify.h"
#include "signerd/dkim/key_record.h"
#include "tests/signerd/dkim/naive_canonical.h"
#include "tests/signerd/dkim/signing.h"

// The input chooses a message, line by line, and a profile. What we hash is what the RFC says; whatever we sign, our
// verifier finds good, and libopendkim, where it has the algorithm; and neither does any more when an octet of what is
// signed is another, be it of the body, of a signed field, of the new field, or of the signature.
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
std::string Pieces(Choices& input, const std::array<const char*, N>& from, std::size_t most) {
  std::string text;
  for (std::size_t count = input.UpTo(most); count > 0; --count) {
    text += from[input.UpTo(N - 1)];
  }
  return text;
}

// A field's value: no line of it is empty or white space alone, which RFC 5322 has as obsolete and verifiers disagree
// on.
std::string Value(Choices& input) {
  std::string value = input.Flip() ? " " : "";
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

std::string Message(Choices& input) {
  std::string message;
  const std::size_t count = input.UpTo(12);
  const std::size_t from = input.UpTo(count);
  for (std::size_t i = 0; i <= count; ++i) {
    if (i == from)
      message += input.Flip() ? "From: Joe <joe@example.com>\r\n" : "FROM:joe@example.com (\r\n\tJoe )  \r\n";
    if (i == count) break;
    const std::string name = kNames[input.UpTo(kNames.size() - 1)];
    message += name + (input.UpTo(9) == 9 ? " :" : ":") + Value(input) + "\r\n";
  }
  return message + "\r\n" + Pieces(input, kBodyPieces, 60);
}

dkim_test::Signing How(Choices& input) {
  dkim_test::Signing how;
  const auto either = [&] { return input.Flip() ? Canonicalization::kRelaxed : Canonicalization::kSimple; };
  how.profile.header = either();
  how.profile.body = either();
  how.profile.timestamp = input.Flip();
  how.profile.query_method = input.Flip();
  how.profile.copied_fields = input.Flip();
  how.profile.body_length = input.Flip();
  if (input.Flip()) how.profile.signed_fields = {"Subject", "To", "X-Other", "List-Id", "Received"};
  if (input.Flip()) how.profile.oversigned_fields = {"Subject", "Cc", "X-Missing"};
  if (input.Flip()) how.profile.auid = "joe@mail.example.com";
  how.key = input.Flip() ? &dkim_test::Ed25519() : &dkim_test::Rsa2048();
  how.chunk = 1 + input.UpTo(299);
  return how;
}

const char* KeyFile() {
  static const MemoryFile file("sel._domainkey.example.com " + KeyRecordValue(dkim_test::Rsa2048().Public()) + "\n");
  return file.path().c_str();
}

void Insist(bool holds, const char* why, const std::string& message) {
  if (holds) return;
  std::fprintf(stderr, "%s\n%s\n", why, dkim_test::Escaped(message).c_str());
  std::abort();
}

// A message under its signature, and what of it is signed.
struct Signed {
  dkim_test::Signing how;
  std::string prefix;  // of the field: up to its "b="
  std::string field, message;
  std::vector<std::string> names;  // of h=
  std::uint64_t body_octets = 0;   // l=; those of the canonical body where there is none

  std::string whole() const { return field + message; }
};

std::size_t HeaderEnd(std::string_view message) { return message.find("\r\n\r\n") + 4; }

// By the RFC. `whole` has as many octets in each of its parts as the message that was signed, and the same line ends.
std::string HeaderOf(const Signed& signed_one, std::string_view whole) {
  const std::string_view message = whole.substr(signed_one.field.size());
  return naive::SignedHeader(signed_one.how.profile.header == Canonicalization::kRelaxed,
                             message.substr(0, HeaderEnd(message)), signed_one.names,
                             std::string(whole.substr(0, signed_one.prefix.size())));
}
std::string BodyOf(const Signed& signed_one, std::string_view whole) {
  const std::string_view message = whole.substr(signed_one.field.size());
  return naive::Body(signed_one.how.profile.body == Canonicalization::kRelaxed, message.substr(HeaderEnd(message)));
}

std::vector<std::string> NamesOf(const std::string& field) {
  std::vector<std::string> names;
  for (const char c : dkim_test::TagOf(field, "h") + ":") {
    if (names.empty()) names.emplace_back();
    if (c == ':') {
      names.emplace_back();
    } else {
      names.back() += c;
    }
  }
  names.pop_back();
  return names;
}

Signed Sign(Choices& input) {
  Signed signed_one{How(input), "", "", Message(input), {}};
  std::string& message = signed_one.message;
  // As SMTP gives it. libopendkim does not always add the CRLF that a body without one gets (RFC 6376 section 3.4.4).
  if (!message.ends_with("\r\n")) message += "\r\n";
  const auto prepared = dkim_test::Prepare(message, signed_one.how);
  Insist(prepared.has_value(), "a message that is well formed is signed", message);
  signed_one.prefix = prepared->field;
  signed_one.field = AssembleField(*prepared, signed_one.how.key->Sign(prepared->digest));
  signed_one.names = NamesOf(signed_one.field);
  Insist(HeaderOf(signed_one, signed_one.whole()) == prepared->signed_data, "the header that is hashed is the RFC's",
         signed_one.whole());
  signed_one.body_octets = BodyOf(signed_one, signed_one.whole()).size();
  return signed_one;
}

// Why a message is no good to a verifier; empty: it is.
std::string Ours(const Signed& signed_one, const std::string& whole) {
  const std::string verdicts = dkim_test::Verdicts(whole, dkim_test::ZoneOf(signed_one.how));
  return verdicts == "pass" ? "" : verdicts;
}
std::string Theirs(const std::string& whole) {
  const char* why = OpenDkimRefuses(KeyFile(), whole.data(), whole.size());
  return why == nullptr ? "" : why;
}

// Line ends stay, and what a C string or libopendkim, which asks isspace(), takes for one.
bool MayBeAnother(char octet) { return octet == '\t' || (static_cast<unsigned char>(octet) >= ' ' && octet != 0x7f); }

// Of the signature: a digit of base64 whose bits all count.
bool IsDigit(char octet) { return std::isalnum(static_cast<unsigned char>(octet)) != 0; }

// One octet that becomes another.
struct Change {
  std::size_t part, at;  // of the four below; taken modulo the part's size
  char to;
};

void TryChange(const Signed& signed_one, const Change& change, bool ask_theirs) {
  const std::string whole = signed_one.whole();
  const std::size_t field = signed_one.field.size(), prefix = signed_one.prefix.size(),
                    body = field + HeaderEnd(signed_one.message);
  const std::array<std::pair<std::size_t, std::size_t>, 4> parts = {
      {{0, prefix}, {prefix, field - 6}, {field, body}, {body, whole.size()}}};
  const auto [begin, end] = parts[change.part];
  if (begin == end) return;
  const std::size_t at = begin + change.at % (end - begin);
  const char to = change.to;
  const bool is_signature = change.part == 1;
  if (to == whole[at] || !MayBeAnother(to) || !MayBeAnother(whole[at])) return;
  if (is_signature && (!IsDigit(to) || !IsDigit(whole[at]))) return;
  std::string changed = whole;
  changed[at] = to;
  const std::string body_then = BodyOf(signed_one, whole);
  const std::string body_now = BodyOf(signed_one, changed);
  const std::uint64_t octets = signed_one.how.profile.body_length ? signed_one.body_octets : UINT64_MAX;
  const bool same_body = std::string_view(body_now).substr(0, octets) == body_then;
  if (is_signature || !same_body || HeaderOf(signed_one, changed) != HeaderOf(signed_one, whole)) {
    Insist(!Ours(signed_one, changed).empty(), "what is not what was signed passes", changed);
    Insist(!ask_theirs || !Theirs(changed).empty(), "what is not what was signed passes with libopendkim", changed);
  } else if (at >= body) {
    const std::string why = Ours(signed_one, changed);
    Insist(why.empty(), why.c_str(), changed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Choices input(data, size);
  std::array<Change, 4> changes{};
  for (Change& change : changes) change = {input.UpTo(3), input.UpTo(UINT16_MAX), static_cast<char>(input.Octet())};
  const Signed signed_one = Sign(input);
  const std::string whole = signed_one.whole();
  const std::string ours = Ours(signed_one, whole);
  Insist(ours.empty(), ours.c_str(), whole);
  // libopendkim of Debian 12 has no Ed25519.
  const bool ask_theirs = signed_one.how.key->algorithm() == Algorithm::kRsaSha256;
  const std::string theirs = ask_theirs ? Theirs(whole) : "";
  Insist(theirs.empty(), theirs.c_str(), whole);
  for (const Change& change : changes) TryChange(signed_one, change, ask_theirs);
  return 0;
}
