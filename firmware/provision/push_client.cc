#include <charconv>

#include "firmware/provision/configuration.h"
#include "firmware/provision/push_server.h"

namespace hallmark::provision {
namespace {

constexpr std::chrono::seconds kFirstWords{30};
constexpr std::chrono::minutes kSettingUp{11};
constexpr std::size_t kMostAnswer = 1u << 16, kLeastDigits = 32;

// Hexadecimal digits, upper case.
std::string Digits(std::string_view fingerprint) {
  std::string digits;
  for (const char c : fingerprint) {
    if (c != ':' && c != ' ') digits += c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return digits;
}

Status CheckPeer(const TlsStream& stream, const std::string& fingerprint) {
  const std::string wanted = Digits(fingerprint);
  if (wanted.size() < kLeastDigits) {
    return MakeError(Reason::kInvalidArgument, "the fingerprint is too short: give the first 16 octets of it at least");
  }
  if (Digits(stream.PeerFingerprint()).starts_with(wanted)) return Ok();
  return MakeError(Reason::kStateConflict, "what answers there is not that box: its fingerprint is " +
                                               stream.PeerFingerprint() + "; nothing was sent");
}

// What follows "NO ".
Error Refused(const std::string& line) {
  return MakeError(Reason::kStateConflict, line.starts_with("NO ") ? "the box refused: " + line.substr(3)
                                                                   : "what answers there is no box that is not set up");
}

}  // namespace

Status Push(const std::string& box, const std::string& fingerprint, const std::string& code, const std::string& file,
            const std::function<Status(const std::string& answer)>& keep) {
  const auto in = [](auto time) { return std::chrono::steady_clock::now() + time; };
  auto stream = TlsStream::Connect(box, in(kFirstWords));
  if (!stream) return stream.error();
  if (const Status same = CheckPeer(*stream, fingerprint); !same) return same.error();
  Status sent = stream->Write("HALLMARK-PUSH 1 " + PlainCode(code) + " " + std::to_string(file.size()) + "\n");
  if (!sent) return sent.error();
  const auto go = stream->ReadLine(kMostAnswer);
  if (!go) return go.error();
  if (*go != "GO") return Refused(*go);
  stream->SetDeadline(in(kSettingUp));
  sent = stream->Write(file);
  if (!sent) return sent.error();
  const auto answer = stream->ReadLine(kMostAnswer);
  if (!answer) return answer.error();
  std::size_t size = 0;
  const char* const end = answer->data() + answer->size();
  if (!answer->starts_with("OK ") || std::from_chars(answer->data() + 3, end, size).ptr != end || size > kMostAnswer) {
    return Refused(*answer);
  }
  const auto text = stream->Read(size);
  if (!text) return text.error();
  if (const Status kept = keep(*text); !kept) return kept;
  // The box is set up whether it hears of this or not; where it does not, it wants a stick for the same.
  (void)stream->Write("KEPT\n");
  return Ok();
}

}  // namespace hallmark::provision
