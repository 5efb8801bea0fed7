#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "hallmark/admin/v1/admin.grpc.pb.h"
#include "hallmark/admin/v1/operators.grpc.pb.h"
#include "tools/dkimctl/command.h"

namespace hallmark::ctl {

// One listener of signerd, and how to come in.
struct Endpoint {
  std::string server;            // "127.0.0.1:8462"
  std::string server_name;       // what the server's certificate must say
  std::string ca, certificate;   // PEM
  std::string private_key;       // PEM, or a PKCS#11 URI (RFC 7512)
  std::filesystem::path module;  // the PKCS#11 module of the latter; empty: those that p11-kit knows
};

// From DIR/dkimctl.toml, which is checked as a whole.
struct ClientConfig {
  Endpoint admin, signing;
  std::string operator_name;          // of the operator's files: "operator"
  std::filesystem::path session;      // where the session is kept
  std::filesystem::path totp_secret;  // a file with the TOTP secret in base32; empty: none is configured
};
// `as`: the name of another operator's files in the set-up (tls/NAME.pem, tls/NAME.key, secrets/NAME.totp); empty:
// none.
Answer<ClientConfig> LoadClientConfig(const std::filesystem::path& directory, const std::string& as = "");

// A channel with mutual TLS. Connects on its first call.
std::shared_ptr<grpc::Channel> OpenChannel(const Endpoint& endpoint);

// The Admin API, with the session that a login gave. Where signerd asks for a login, it logs in by itself: with the
// configured TOTP secret, or with a code that it asks for on the terminal. Not thread-safe.
class AdminClient {
 public:
  using Stub = admin::v1::AdminService::Stub;
  using Operators = admin::v1::OperatorService::Stub;
  static Answer<AdminClient> Open(const Context& context);

  // Calls one method of any service of the Admin API and waits for its answer, at most the time-out of the context.
  template <class Service, class Request, class Response>
  Answer<Response> Call(grpc::Status (Service::*method)(grpc::ClientContext*, const Request&, Response*),
                        const Request& request) {
    auto answer = CallOnce(method, request);
    if (answer || answer.error().reason != "LOGIN_REQUIRED") return answer;
    const auto logged_in = LogInAgain(answer.error());
    if (!logged_in) return logged_in.error();
    return CallOnce(method, request);
  }
  template <class Service, class Request, class Response>
  Answer<Response> CallOnce(grpc::Status (Service::*method)(grpc::ClientContext*, const Request&, Response*),
                            const Request& request) {
    grpc::ClientContext call;
    call.set_deadline(std::chrono::system_clock::now() + timeout_);
    if (!session_.empty()) call.AddMetadata("hallmark-session", session_);
    Service stub(channel_);
    Response response;
    const grpc::Status status = (stub.*method)(&call, request, &response);
    if (!status.ok()) return FromStatus(status, config_.admin.server);
    return response;
  }

  // Calls a method that streams its answer, for as long as that takes, and gives each message to `take`, whose failure
  // ends the call.
  template <class Service, class Request, class Response>
  Answer<void> Stream(std::unique_ptr<grpc::ClientReader<Response>> (Service::*method)(grpc::ClientContext*,
                                                                                       const Request&),
                      const Request& request, const std::function<Answer<void>(const Response&)>& take) {
    const auto answer = StreamOnce(method, request, take);
    if (answer || answer.error().reason != "LOGIN_REQUIRED") return answer;
    const auto logged_in = LogInAgain(answer.error());
    if (!logged_in) return logged_in.error();
    return StreamOnce(method, request, take);
  }
  template <class Service, class Request, class Response>
  Answer<void> StreamOnce(std::unique_ptr<grpc::ClientReader<Response>> (Service::*method)(grpc::ClientContext*,
                                                                                           const Request&),
                          const Request& request, const std::function<Answer<void>(const Response&)>& take) {
    grpc::ClientContext call;
    if (!session_.empty()) call.AddMetadata("hallmark-session", session_);
    Service stub(channel_);
    const auto reader = (stub.*method)(&call, request);
    Response response;
    Answer<void> taken;
    while (taken && reader->Read(&response)) {
      taken = take(response);
      if (!taken) call.TryCancel();
    }
    const grpc::Status status = reader->Finish();
    if (!taken) return taken;
    if (!status.ok()) return FromStatus(status, config_.admin.server);
    return {};
  }

  // Logs in and keeps the session.
  Answer<admin::v1::Session> Login(const std::string& code);
  // Whether a TOTP secret is configured, and there.
  bool HasSecret() const;
  // With the codes of the configured TOTP secret, each of which is good once: waits for a new one where it has to.
  Answer<admin::v1::Session> LoginBySecret();
  // Keeps the session for this and later commands.
  Answer<void> Keep(const admin::v1::Session& session);
  // Forgets it.
  void Forget();
  const ClientConfig& config() const { return config_; }

  // Every page.
  Answer<admin::v1::ListDomainsResponse> ListDomains();
  // `domain` empty: of all domains.
  Answer<admin::v1::ListKeysResponse> ListKeys(const std::string& domain);

 private:
  AdminClient(ClientConfig config, std::chrono::milliseconds timeout);
  Answer<void> LogInAgain(const Failure& asked);
  ClientConfig config_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<grpc::Channel> channel_;
  std::string session_;
};

// From --timeout.
std::chrono::milliseconds Timeout(const Context& context);

}  // namespace hallmark::ctl
