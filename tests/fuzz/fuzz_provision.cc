#include <string>

#include "check.h"
#include "firmware/provision/configuration.h"
#include "firmware/provision/push_request.h"
#include "firmware/provision/signed_file.h"
#include "memory_file.h"

// What a box is given before it trusts anybody: a signed configuration, from a stick or the network, and the line with
// which somebody begins who pushes one. What opens as signed by the seeds' signers says what they signed: nobody else
// has their keys.
namespace {

using namespace hallmark;
using namespace hallmark::provision;

constexpr char kOwnerCa[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBPDCB46ADAgECAhR0G7boeEnLYqejkphnIbi9We9blTAKBggqhkjOPQQDAjAT\n"
    "MREwDwYDVQQDDAhPd25lciBDQTAgFw0yMDAxMDEwMDAwMDBaGA8yMTk5MTIzMTAw\n"
    "MDAwMFowEzERMA8GA1UEAwwIT3duZXIgQ0EwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
    "BwNCAAQ3w1Js28WN5/G6FMbaVhk3kcEVlwN4qKMCuDnZJdwsxR/PbiU0V4Uei7cp\n"
    "z2hgWR4Dhchivw6GAZt/fl5mqvuCoxMwETAPBgNVHRMBAf8EBTADAQH/MAoGCCqG\n"
    "SM49BAMCA0gAMEUCIEHBaysow1jZ+wxEaMO9LwkRlIkKR5SpDTkL09qnR4B0AiEA\n"
    "sg+xC59GxYgJk0MBHT3U/GxaxXufLmvqcSW+3wK5/hA=\n"
    "-----END CERTIFICATE-----\n";

// SHA-256 of the public keys.
constexpr std::string_view kOwner = "8b326970874b8fd8a95002062b1fc844511c78ef3f0fccb7313c0ae22d91cd78";
constexpr std::string_view kStranger = "4476476122242afc725cef2dd2854dd2f033f35c0d9c3250d45be87bf5071e8f";
constexpr std::string_view kSigned = "format = 1\nhost_name = \"mail\"\n";

void CheckFault(const Error& error) {
  const bool known = error.reason == Reason::kConfigInvalid || error.reason == Reason::kDeadlineExceeded;
  Check(known && error.message.starts_with("box.p7m: "), "a fault names the file");
}

void CheckConfiguration(std::string_view der) {
  static const MemoryFile owner(kOwnerCa);
  const auto anyone = Open(der, "box.p7m", {});
  const auto owners = Open(der, "box.p7m", owner.path());
  if (!owners) CheckFault(owners.error());
  if (!anyone) {
    CheckFault(anyone.error());
    Check(!owners, "what has no good signature is nobody's");
    return;
  }
  Check(!anyone->by_owner, "without an owner's CA it is nobody's");
  Check(anyone->signer.key.size() == 64 && anyone->signer.fingerprint.size() == 95, "a signer is told by two hashes");
  for (const char c : anyone->signer.subject) Check(c >= ' ' && c <= '~', "a signer's name can be shown");
  if (anyone->signer.key == kOwner || anyone->signer.key == kStranger) {
    Check(anyone->content == kSigned, "what opens is what was signed");
  }
  if (owners) {
    Check(owners->by_owner && owners->signer.key == kOwner, "the owner's is the owner's");
    Check(owners->content == anyone->content, "whose it is does not change what it says");
  }
}

void CheckRequest(std::string_view line) {
  const auto request = ReadPushRequest(line);
  if (!request) return;
  Check(request->size > 0 && request->size <= 2 * kMostOctets, "a size is bounded");
  const std::string again = "HALLMARK-PUSH 1 " + request->code + " " + std::to_string(request->size);
  const auto same = ReadPushRequest(again);
  Check(same && same->code == request->code && same->size == request->size, "a request reads the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  CheckConfiguration(octets);
  CheckRequest(octets);
  return 0;
}
