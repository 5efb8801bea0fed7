#include "signerd/service/transport.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <mutex>
#include <tuple>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"

namespace hallmark::service {
namespace {

constexpr std::chrono::seconds kRefresh{1};

void LogChange(const std::string& listener, const std::string& before, const std::string& now) {
  if (before == now) return;
  if (now.empty()) {
    log::info("{}: certificates and lists on disk are in force again", listener);
  } else {
    log::warn("{}: {}; what was in force before stays in force", listener, now);
  }
}

}  // namespace

Result<std::unique_ptr<Transport>> Transport::Open(std::string name, const ListenerConfig& config,
                                                   const snapshot::Current& snapshot, const Clock& clock) {
  std::unique_ptr<Transport> transport(new Transport(std::move(name), config, snapshot, clock));
  auto files = TlsFiles::Load(config);
  if (!files) return files.error();
  transport->files_ = std::move(*files);
  transport->Refresh();
  const auto crl = transport->crl_.state();
  // Nothing was in force before, so there is nothing to fall back on.
  if (!config.client_crl.empty() && crl->lists == nullptr) return MakeError(Reason::kConfigInvalid, crl->problem);
  return transport;
}

Result<PeerCertificates::Facts> Transport::Admit(const grpc::AuthContext& peer) {
  auto facts = peers_.Of(peer);
  if (facts == nullptr) {
    return MakeError(Reason::kCallerUnknown,
                     "the caller showed no certificate that can be read, or more CAs beside it, "
                     "or other ones more often, than anybody needs");
  }
  if (IsRevoked(*facts)) {
    return MakeError(Reason::kCertificateRevoked,
                     "the client certificate " + facts->fingerprint + " is revoked: get a new one");
  }
  if (facts->sent_unknown && !crl_.file().empty()) {
    return MakeError(Reason::kCallerUnknown, "which CAs are above the client certificate " + facts->fingerprint +
                                                 " is not known: connect without resuming a TLS session");
  }
  // The handshake looked at this too, but a connection may be older than that.
  if (facts->not_after < clock_.Now()) {
    return MakeError(Reason::kCallerUnknown,
                     "the client certificate " + facts->fingerprint + " has expired: connect with a new one");
  }
  return facts;
}

bool Transport::IsRevoked(const CertificateFacts& facts) const {
  if (snapshot_.Get()->revoked_certificates.contains(facts.fingerprint)) return true;
  const auto crl = crl_.state();
  return crl->Revokes(facts.name) || std::any_of(facts.sent.begin(), facts.sent.end(),
                                                 [&](const auto& authority) { return crl->Revokes(authority); });
}

bool Transport::IsRevoked(ByteView fingerprint) const {
  const std::string text = HexEncode(fingerprint);
  if (snapshot_.Get()->revoked_certificates.contains(text)) return true;
  const auto shown = peers_.With(text);
  return std::any_of(shown.begin(), shown.end(), [&](const auto& facts) { return IsRevoked(*facts); });
}

bool Transport::IsClientCa(std::string_view fingerprint) const {
  const std::vector<X509Ptr> authorities = ReadCertificates(files_->current()->client_ca);
  return std::any_of(authorities.begin(), authorities.end(), [&](const X509Ptr& one) {
    return FactsOf(*one).fingerprint == fingerprint && X509_check_ca(one.get()) != 0;
  });
}

bool Transport::HasShown(std::string_view fingerprint) const { return !peers_.With(fingerprint).empty(); }

void Transport::Refresh() {
  const std::string crl_before = crl_.state()->problem;
  const Status refreshed = files_->Refresh();
  auto problem = std::make_shared<const std::string>(refreshed ? "" : refreshed.error().message);
  LogChange(name_, *problem_.load(), *problem);
  problem_.store(std::move(problem));
  crl_.Refresh(files_->current()->client_ca, clock_.Now());
  LogChange(name_, crl_before, crl_.state()->problem);
}

std::vector<Expiry> Transport::Expiries() const {
  std::vector<Expiry> expiries;
  const auto content = files_->current();
  const auto crl = crl_.state();
  for (const X509Ptr& certificate : ReadCertificates(content->certificate)) {
    const CertificateFacts facts = FactsOf(*certificate);
    expiries.push_back({name_ + " server " + facts.subject, facts.fingerprint, facts.not_after});
  }
  for (const X509Ptr& certificate : ReadCertificates(content->client_ca)) {
    const CertificateFacts facts = FactsOf(*certificate);
    expiries.push_back(
        {name_ + " client CA " + facts.subject, facts.fingerprint, facts.not_after, crl->Revokes(facts.name)});
  }
  const auto now = clock_.Now();
  std::vector<Expiry> clients;
  for (const auto& facts : peers_.Seen()) {
    const std::string& who = facts->identities.empty() ? facts->subject : facts->identities.front();
    // One that is revoked replaces no other.
    const bool revoked = IsRevoked(*facts);
    if (revoked && facts->not_after < now) continue;
    (revoked ? expiries : clients).push_back({name_ + " client " + who, facts->fingerprint, facts->not_after, revoked});
  }
  for (Expiry& expiry : ClientExpiries(clients, now)) expiries.push_back(std::move(expiry));
  return expiries;
}

TransportWatch::TransportWatch(std::vector<Transport*> transports, const Clock& clock)
    : transports_(std::move(transports)),
      clock_(clock),
      thread_([this](const std::stop_token& stop) { Watch(stop); }) {}

std::vector<Expiry> TransportWatch::Expiries() const {
  std::vector<Expiry> all;
  for (const Transport* transport : transports_) {
    for (Expiry& expiry : transport->Expiries()) all.push_back(std::move(expiry));
  }
  std::sort(all.begin(), all.end(), [](const Expiry& a, const Expiry& b) {
    return std::tie(a.not_after, a.name, a.fingerprint) < std::tie(b.not_after, b.name, b.fingerprint);
  });
  return all;
}

void TransportWatch::Watch(const std::stop_token& stop) {
  std::chrono::sys_days warned{};
  do {
    for (Transport* transport : transports_) transport->Refresh();
    const auto today = std::chrono::floor<std::chrono::days>(clock_.Now());
    if (today == warned) continue;
    warned = today;
    for (const std::string& warning : ExpiryWarnings(Expiries(), clock_.Now())) log::warn("{}", warning);
  } while (Pause(stop, kRefresh));
}

}  // namespace hallmark::service
