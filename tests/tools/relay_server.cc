#include "relay_server.h"

#include <grpcpp/health_check_service_interface.h>

#include <chrono>

namespace {

using namespace hallmark;

constexpr char kService[] = "hallmark.signing.v1.SigningService";

std::string DnsName(const grpc::ServerContext& context) {
  const auto names = context.auth_context()->FindPropertyValues("x509_subject_alternative_name");
  return names.empty() ? "" : std::string(names.front().data(), names.front().size());
}

}  // namespace

RelayPki::RelayPki() : authority_(std::move(*MakeAuthority("test"))) {
  const auto server = IssueCertificate(authority_, {"server", {"localhost"}, {"127.0.0.1"}, {}, Usage::kServer});
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = *CertificatePem(authority_);
  options.pem_key_cert_pairs.push_back({*PrivateKeyPem(*server), *CertificatePem(*server)});
  server_ = grpc::SslServerCredentials(options);
  WriteText(folder_ / "ca.pem", options.pem_root_certs);
  IssueRelay("relay.test");
}

void RelayPki::IssueRelay(const std::string& name, bool certificate, bool key) {
  const auto relay = IssueCertificate(authority_, {name, {name}, {}, {}, Usage::kClient});
  if (certificate) WriteText(folder_ / "relay.pem", *CertificatePem(*relay));
  if (key) WriteText(folder_ / "relay.key", *PrivateKeyPem(*relay));
}

hallmark::relay::Settings RelayPki::settings(std::vector<std::string> servers) const {
  hallmark::relay::Settings settings;
  settings.servers = std::move(servers);
  settings.ca = folder_ / "ca.pem";
  settings.certificate = folder_ / "relay.pem";
  settings.private_key = folder_ / "relay.key";
  settings.timeout = std::chrono::minutes(10);
  return settings;
}

RelayServer::RelayServer(const RelayPki& pki, int port) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port), pki.server(), &port_);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  SetServing(true);
}

RelayServer::~RelayServer() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void RelayServer::SetServing(bool serving) { server_->GetHealthCheckService()->SetServingStatus(kService, serving); }

RelayServer::Seen RelayServer::seen() {
  const std::lock_guard lock(mutex_);
  return seen_;
}

grpc::Status RelayServer::Answer(grpc::ServerContext& context, const hallmark::signing::v1::SignOptions& options,
                                 Response& response) {
  {
    const std::lock_guard lock(mutex_);
    seen_.request_ids.push_back(options.request_id());
    seen_.callers.push_back(DnsName(context));
  }
  const grpc::Status status = answer ? answer(context) : grpc::Status::OK;
  if (!status.ok()) return status;
  auto& signature = *response.add_signatures();
  signature.set_header_field("DKIM-Signature: v=1;\r\n b=AA==\r\n");
  signature.set_selector("s1");
  signature.set_algorithm(hallmark::signing::v1::ALGORITHM_RSA_SHA256);
  response.set_signing_domain("example.com");
  auto& warning = *response.add_warnings();
  warning.set_code("LONG_LINE");
  warning.set_message("a line is long");
  if (change) change(options, response);
  return status;
}

grpc::Status RelayServer::SignDigest(grpc::ServerContext* context,
                                     const hallmark::signing::v1::SignDigestRequest* request, Response* response) {
  {
    const std::lock_guard lock(mutex_);
    seen_.digests.push_back(*request);
  }
  return Answer(*context, request->options(), *response);
}

grpc::Status RelayServer::Sign(grpc::ServerContext* context, const hallmark::signing::v1::SignRequest* request,
                               Response* response) {
  {
    const std::lock_guard lock(mutex_);
    seen_.messages.push_back(request->message());
  }
  return Answer(*context, request->options(), *response);
}

grpc::Status RelayServer::SignLarge(grpc::ServerContext* context,
                                    grpc::ServerReader<hallmark::signing::v1::MessageChunk>* reader,
                                    Response* response) {
  hallmark::signing::v1::SignOptions options;
  std::string message;
  for (hallmark::signing::v1::MessageChunk chunk; reader->Read(&chunk);) {
    if (chunk.has_options()) options = chunk.options();
    message += chunk.data();
  }
  {
    const std::lock_guard lock(mutex_);
    seen_.large_messages.push_back(message);
  }
  return Answer(*context, options, *response);
}
