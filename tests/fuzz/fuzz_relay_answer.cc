#include <algorithm>
#include <string>

#include "check.h"
#include "hallmark/signing/v1/signing.pb.h"
#include "signerd/dkim/header.h"
#include "tools/relay-client/answer.h"
#include "tools/relay-client/failure.h"

// What a relay is answered, by whoever took the place of signerd: signatures, which it puts before the message, and
// failures, which it writes down and waits for. The first octet is the status.
namespace {

using namespace hallmark;
using namespace hallmark::relay;

bool IsOneLine(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

void CheckAnswer(const std::string& octets) {
  signing::v1::SignResponse response;
  if (!response.ParseFromString(octets) || !HasSignatures(response)) return;
  const Outcome outcome = ToOutcome(response);
  Check(outcome.signatures.size() == static_cast<std::size_t>(response.signatures_size()), "all signatures are there");
  Check(!outcome.failure, "it is no failure");
  std::string message;
  for (const Signature& signature : outcome.signatures) message += signature.header_field;
  message += "From: a@example.com\r\n\r\nbody";
  dkim::HeaderReader reader({.header_octets = 1 << 20, .header_fields = 1000});
  const auto taken = reader.Push(message);
  if (!taken) return;
  Check(*taken == message.size() - 4, "the header ends where it did");
  const auto header = std::move(reader).Finish();
  if (!header) return;  // more fields than there may be
  Check(header->fields().size() == outcome.signatures.size() + 1, "a signature is one field");
  for (std::size_t i = 0; i < outcome.signatures.size(); ++i) {
    Check(header->fields()[i].name == "DKIM-Signature", "and no other than that");
  }
}

void CheckFailure(grpc::StatusCode code, const std::string& octets) {
  const std::size_t line = std::min(octets.find('\n'), octets.size());
  const grpc::Status status(code, octets.substr(0, line), octets.substr(std::min(line + 1, octets.size())));
  const Failure failure = ToFailure(status, "mail.example.com:8471");
  Check(!failure.reason.empty() && IsOneLine(failure.reason) && IsOneLine(failure.message),
        "a failure is lines of a log");
  Check(!failure.retry_after || (failure.retry_after->count() >= 0 && *failure.retry_after <= std::chrono::hours(24)),
        "a wait is one that somebody can wait");
  MayBeOneServers(failure);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string octets(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto code = static_cast<grpc::StatusCode>(data[0] % 17);
  if (code == grpc::StatusCode::OK) {
    CheckAnswer(octets);
  } else {
    CheckFailure(code, octets);
  }
  return 0;
}
