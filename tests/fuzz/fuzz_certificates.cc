#include <algorithm>
#include <string>

#include "check.h"
#include "memory_file.h"
#include "peer_context.h"
#include "signerd/service/client_crl.h"
#include "signerd/service/peer.h"

// PEM of others: a relay's certificate as gRPC hands it on, and revocation lists, once under the seeds' client CA and
// once under whatever certificates the text itself holds.
namespace {

using namespace hallmark;
using namespace hallmark::service;

constexpr char kClientCa[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBPjCB5aADAgECAhQcEY59TJrH/M2NlItaE+Gw5X4lZDAKBggqhkjOPQQDAjAU\n"
    "MRIwEAYDVQQDDAlDbGllbnQgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjE5OTEyMzEw\n"
    "MDAwMDBaMBQxEjAQBgNVBAMMCUNsaWVudCBDQTBZMBMGByqGSM49AgEGCCqGSM49\n"
    "AwEHA0IABFVVZhcyPVj+wyvj9a4poL5ckRXwaZR6EVt5knVUBrfCglugsGl1qJ9C\n"
    "pb3N6sDPwk+pCfgikNWAPQwN2aT1YmijEzARMA8GA1UdEwEB/wQFMAMBAf8wCgYI\n"
    "KoZIzj0EAwIDSAAwRQIhAJzg35gZJ9kz1HyW5nStcG5+Em/7zktoxD8q6Sh30FMD\n"
    "AiBVwEy8Y5sGo8O6oT7cVCzu/66J3m4DtTHMXaTA6fA37Q==\n"
    "-----END CERTIFICATE-----\n";

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'700'000'000)};

void CheckCertificates(std::string_view pem) {
  const auto certificates = ReadCertificates(pem);
  PeerCertificates peers;
  const auto facts = peers.Of(test::PeerContext(pem, pem));
  Check((facts == nullptr) == (certificates.empty() || pem.size() > PeerCertificates::kMostSent),
        "a peer is known by its certificate");
  if (facts == nullptr) return;
  Check(peers.Of(test::PeerContext(pem, pem)) == facts && peers.Seen().size() == 1, "and read once");
  Check(facts->identities == std::vector<std::string>{"dns:relay1.example.com"}, "by the names that gRPC verified");
  const CertificateFacts first = FactsOf(*certificates.front());
  Check(first.fingerprint == facts->fingerprint && first.fingerprint.size() == 64,
        "the first certificate is the peer's");
  Check(facts->sent.size() == certificates.size() && !facts->sent_unknown, "all that was sent counts");
  for (const Authority& one : facts->sent) {
    Check(one.name.issuer != nullptr && (one.name.serial.front() == '+' || one.name.serial.front() == '-'),
          "a certificate can be revoked");
    Check(one.subject != nullptr && one.key.size() == 32, "its CA is known by name and key");
  }
}

void CheckLists(const std::string& pem, const std::string& client_ca) {
  static MemoryFile file;
  file.Write(pem);
  ClientCrl crl(file.path());
  crl.Refresh(client_ca, kNow);
  const auto state = crl.state();
  const auto lists = ReadRevocationLists(pem, client_ca);
  if (!lists) {
    Check(state->lists == nullptr && !state->problem.empty(), "what will not do changes nothing, and is told");
    return;
  }
  Check(!lists->empty() && state->lists != nullptr, "what will do is in force");
  for (const auto& [issuer, list] : *lists) {
    for (const std::string& serial : list->revoked)
      Check(state->Revokes(CertificateName{issuer, serial}), "what is listed is revoked");
    Check(list->next_update >= kNow || !state->problem.empty(), "an old list is told");
  }
  crl.Refresh(client_ca, kNow);
  Check(crl.state()->problem == state->problem && crl.state()->lists->size() == state->lists->size(),
        "to read it again changes nothing");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string pem(reinterpret_cast<const char*>(data), size);
  CheckCertificates(pem);
  CheckLists(pem, kClientCa);
  CheckLists(pem, pem);
  return 0;
}
