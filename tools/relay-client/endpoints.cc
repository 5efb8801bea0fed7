#include "tools/relay-client/endpoints.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "tools/relay-client/server_address.h"

namespace hallmark::relay {
namespace {

constexpr std::chrono::seconds kLookEvery{1};
constexpr std::chrono::milliseconds kShortestTimeout{100};
constexpr std::chrono::seconds kLongestTimeout{600};  // the sum with a time must not overflow
constexpr std::chrono::seconds kRest{30};
// Longer than a server takes to start, the computer below it included.
constexpr std::chrono::minutes kMissed{5};
// In which a first connection comes about; with a process for each message (dkim-sign) that is all the time there is.
constexpr std::chrono::seconds kNew{3};

// Client-side health checking comes with this policy only. One address or several, it stays connected to all.
constexpr char kServiceConfig[] = R"({"loadBalancingConfig": [{"round_robin": {}}],)"
                                  R"( "healthCheckConfig": {"serviceName": "hallmark.signing.v1.SigningService"}})";

grpc::ChannelArguments ChannelArguments(const std::string& server_name) {
  grpc::ChannelArguments arguments;
  if (!server_name.empty()) arguments.SetSslTargetNameOverride(server_name);
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);             // Call tries again, at another server
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // new certificates make new connections
  // A server that came back is used within a second or two.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // how long one attempt may take
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // One that hangs, or whose network is cut, is found out while there is time to try another (Settings::timeout).
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return arguments;
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(const Pem& pem) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = pem.ca;
  options.pem_cert_chain = pem.certificate;
  options.pem_private_key = pem.private_key;
  auto credentials = grpc::SslCredentials(options);
  OPENSSL_cleanse(options.pem_private_key.data(), options.pem_private_key.size());
  return credentials;
}

Status CheckSettings(const Settings& settings) {
  if (settings.servers.empty()) return MakeError(Reason::kConfigInvalid, "no server is named");
  for (const std::string& server : settings.servers) {
    if (!IsHostAndPort(server)) {
      return MakeError(Reason::kConfigInvalid,
                       "server \"" + server + "\": expected HOST:PORT or [IPv6]:PORT, such as 127.0.0.1:8461");
    }
  }
  if (settings.timeout < kShortestTimeout || settings.timeout > kLongestTimeout) {
    return MakeError(Reason::kConfigInvalid, "timeout: expected 100 ms to 600 s");
  }
  return Ok();
}

}  // namespace

Endpoint::Endpoint(std::string server, const std::string& server_name,
                   const std::shared_ptr<grpc::ChannelCredentials>& credentials)
    : server_(std::move(server)),
      channel_(grpc::CreateCustomChannel(server_, credentials, ChannelArguments(server_name))),
      stub_(channel_) {}

grpc_connectivity_state Endpoint::State() {
  const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
  if (state == GRPC_CHANNEL_READY) {
    was_ready_ = true;
  } else if (was_ready_) {
    missed_until_ = std::chrono::steady_clock::now() + kMissed;
    was_ready_ = false;
  }
  return state;
}

bool Endpoint::LeftLately() {
  return State() != GRPC_CHANNEL_READY && std::chrono::steady_clock::now() < missed_until_.load();
}

void Endpoint::Rest() { rests_until_ = std::chrono::steady_clock::now() + kRest; }

bool Endpoint::Rests() const { return std::chrono::steady_clock::now() < rests_until_.load(); }

// One that is ready there may not be so here yet: it may know nothing of the new certificate.
void Endpoint::Remember(Endpoint& before) {
  const bool ready = before.State() == GRPC_CHANNEL_READY;
  missed_until_ = ready ? std::chrono::steady_clock::now() + kMissed : before.missed_until_.load();
  rests_until_ = before.rests_until_.load();
}

EndpointSet::EndpointSet(const Settings& settings, const Pem& pem)
    : new_until_(std::chrono::steady_clock::now() + kNew) {
  const auto credentials = Credentials(pem);
  for (const std::string& server : settings.servers) {
    endpoints_.push_back(std::make_unique<Endpoint>(server, settings.server_name, credentials));
  }
}

std::size_t EndpointSet::Next(grpc_connectivity_state state, const std::vector<bool>& tried) {
  const std::size_t first = turn_.fetch_add(1, std::memory_order_relaxed);
  std::size_t resting = size();
  for (std::size_t i = 0; i < size(); ++i) {
    const std::size_t index = (first + i) % size();
    if (tried[index] || endpoints_[index]->State() != state) continue;
    if (!endpoints_[index]->Rests()) return index;
    if (resting == size()) resting = index;
  }
  return resting;
}

bool EndpointSet::HasAnother(std::size_t index, const std::vector<bool>& tried) {
  for (std::size_t i = 0; i < size(); ++i) {
    if (i == index || tried[i] || endpoints_[i]->Rests()) continue;
    if (endpoints_[i]->State() == GRPC_CHANNEL_READY) return true;
  }
  return false;
}

bool EndpointSet::AnyReady() {
  bool ready = false;  // all are asked, so that all connect
  for (const auto& endpoint : endpoints_) ready |= endpoint->State() == GRPC_CHANNEL_READY;
  return ready;
}

std::size_t EndpointSet::LeftLately(const std::vector<bool>& tried) {
  std::size_t index = 0;
  while (index < size() && (tried[index] || !endpoints_[index]->LeftLately())) ++index;
  return index;
}

bool EndpointSet::AnotherMayCome(const std::vector<bool>& tried) {
  if (LeftLately(tried) < size()) return true;
  return std::chrono::steady_clock::now() < new_until_ && std::find(tried.begin(), tried.end(), false) != tried.end();
}

bool EndpointSet::MayTakeOver(EndpointSet& before) {
  if (!before.AnyReady()) return true;
  if (std::chrono::steady_clock::now() >= new_until_) return AnyReady();
  for (std::size_t i = 0; i < size(); ++i) {
    if (before[i].State() == GRPC_CHANNEL_READY && endpoints_[i]->State() != GRPC_CHANNEL_READY) return false;
  }
  return true;
}

void EndpointSet::Remember(EndpointSet& before) {
  for (std::size_t i = 0; i < size(); ++i) endpoints_[i]->Remember(before[i]);
}

Result<std::unique_ptr<Endpoints>> Endpoints::Open(const Settings& settings) {
  if (const Status valid = CheckSettings(settings); !valid) return valid.error();
  std::unique_ptr<Endpoints> endpoints(new Endpoints(settings));
  const auto pem = endpoints->files_.Read();
  if (!pem) return pem.error();
  endpoints->current_ = std::make_shared<EndpointSet>(settings, *pem);
  endpoints->looked_ = std::chrono::steady_clock::now();
  return endpoints;
}

std::shared_ptr<EndpointSet> Endpoints::Now() {
  const std::lock_guard lock(mutex_);
  if (const auto now = std::chrono::steady_clock::now(); now - looked_ >= kLookEvery) {
    looked_ = now;
    LookAtFiles();
  }
  if (coming_ != nullptr && coming_->MayTakeOver(*current_)) {
    coming_->Remember(*current_);
    current_ = std::move(coming_);
  }
  return current_;
}

void Endpoints::LookAtFiles() {
  if (!files_.Changed()) return;
  // What is on disk may be half of a change: then the connections that stand go on.
  if (const auto pem = files_.Read()) coming_ = std::make_shared<EndpointSet>(settings_, *pem);
}

}  // namespace hallmark::relay
