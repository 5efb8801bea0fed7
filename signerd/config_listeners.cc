#include <charconv>

#include "firmware/runtime/certificate.h"
#include "firmware/runtime/identity.h"
#include "firmware/runtime/metrics.h"
#include "signerd/config_tables.h"
#include "signerd/service/client_crl.h"

// Where signerd listens, and who may come in there.
namespace hallmark {
namespace {

constexpr std::string_view kAddress = "\"ADDRESS:PORT\", for example \"127.0.0.1:8461\" or \"[::1]:8461\"";
constexpr std::string_view kIdentity = "\"dns:NAME\" or \"uri:URI\", as in the certificate's subject alternative name";

bool IsAddress(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']')) return false;
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc() && end == port.data() + port.size() && number <= 65535;
}

service::ListenerConfig ReadListener(ConfigTable& table) {
  constexpr std::string_view kClientCrl = "a PEM file with one or more revocation lists of the client CA";
  service::ListenerConfig listener;
  listener.listen = table.String("listen", kAddress);
  if (!listener.listen.empty() && !IsAddress(listener.listen)) {
    table.Reject("listen", "found \"" + listener.listen + "\"", kAddress);
  }
  constexpr std::string_view kCertificate = "the server's PEM certificate chain";
  constexpr std::string_view kPrivateKey = "the certificate's PEM private key";
  constexpr std::string_view kClientCa = "the PEM certificate that signs the clients' certificates";
  listener.certificate = table.ReadableFile("certificate", kCertificate);
  listener.private_key = table.ReadableFile("private_key", kPrivateKey);
  listener.client_ca = table.ReadableFile("client_ca", kClientCa);
  if (!table.String("client_crl", kClientCrl, "").empty()) {
    listener.client_crl = table.ReadableFile("client_crl", kClientCrl);
  }
  if (!listener.certificate.empty()) {
    table.Check("certificate", CheckCertificate(listener.certificate), kCertificate);
  }
  if (!listener.private_key.empty()) {
    table.Check("private_key", CheckPrivateKey(listener.private_key, listener.certificate), kPrivateKey);
  }
  if (!listener.client_ca.empty()) {
    const Status good = CheckClientCa(listener.client_ca);
    table.Check("client_ca", good, kClientCa);
    if (good && !listener.client_crl.empty()) {
      table.Check("client_crl", service::CheckRevocationLists(listener.client_crl, listener.client_ca), kClientCrl);
    }
  }
  return listener;
}

bool IsIdentity(std::string_view text) {
  return (text.starts_with("dns:") || text.starts_with("uri:")) && text.size() > 4;
}

}  // namespace

void ReadSigning(ConfigTable& table, SignerdConfig& config) {
  config.signing = ReadListener(table);
  config.message_octets = table.Integer("message_octets", config.message_octets, 1 << 16, 1 << 30);
}

void ReadAdmin(ConfigTable& table, SignerdConfig& config) {
  config.admin = ReadListener(table);
  for (const std::string& identity :
       table.Strings("first_officers", "a list of the identities of the first security officers")) {
    if (!IsIdentity(identity)) table.Reject("first_officers", "found \"" + identity + "\"", kIdentity);
    config.operators.first_officers.insert(NormalIdentity(identity));
  }
  config.operators.session = std::chrono::seconds(table.Integer("session_seconds", 900, 1, 900));
  config.approval_length = std::chrono::hours(table.Integer("approval_hours", 24, 1, 720));
}

void ReadMetrics(ConfigTable& table, SignerdConfig& config) {
  constexpr std::string_view kLoopback = "a loopback \"ADDRESS:PORT\", for example \"127.0.0.1:9461\"";
  config.metrics_listen = table.String("listen", kLoopback);
  const std::string& listen = config.metrics_listen;
  if (!listen.empty() && (!IsAddress(listen) || !IsLoopback(listen))) {
    table.Reject("listen", "found \"" + listen + "\"", kLoopback);
  }
}

}  // namespace hallmark
