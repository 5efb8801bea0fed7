#include "fake_signerd.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "firmware/runtime/issue_certificate.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace {

using hallmark::Identity;
using hallmark::Subject;
using hallmark::Usage;

// One CA stands for all three here.
struct Pem {
  std::string ca, certificate, key;
};

Pem Issue(const Identity& authority, const Subject& subject) {
  const auto identity = hallmark::IssueCertificate(authority, subject);
  return {*hallmark::CertificatePem(authority), *hallmark::CertificatePem(*identity),
          *hallmark::PrivateKeyPem(*identity)};
}

std::string Section(const std::string& name, const std::string& address) {
  return "[" + name + "]\nserver = \"" + address +
         "\"\nserver_name = \"localhost\"\nca = \"ca.pem\"\ncertificate = \"client.pem\"\nprivate_key = "
         "\"client.key\"\n";
}

}  // namespace

grpc::Status Refusal(grpc::StatusCode code, const std::string& reason, const std::string& message) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("hallmark");
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  status.add_details()->PackFrom(info);
  return {code, message, status.SerializeAsString()};
}

FakeSigning::Seen FakeSigning::seen() {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void FakeSigning::Fill(Response* response) const {
  auto* signature = response->add_signatures();
  signature->set_header_field(field);
  signature->set_selector("s1");
  signature->set_algorithm(hallmark::signing::v1::ALGORITHM_RSA_SHA256);
  signature->set_body_hash(std::string(32, '\0'));
  response->set_signing_domain("example.com");
}

grpc::Status FakeSigning::Answer(const Request& request, Response* response) {
  {
    const std::lock_guard lock(mutex_);
    seen_.messages.push_back(request.message());
    seen_.options.push_back(request.options());
  }
  const grpc::Status status = refuse(request.message());
  if (!status.ok()) return status;
  Fill(response);
  response->set_request_id(request.options().request_id());
  return status;
}

grpc::Status FakeSigning::Sign(grpc::ServerContext*, const Request* request, Response* response) {
  constexpr std::chrono::seconds kPatience{30};
  {
    std::unique_lock lock(mutex_);
    most_ = std::max(most_, ++now_);
    changed_.notify_all();
    const auto enough = [this] { return in_vain_ || most_ >= together; };
    if (!changed_.wait_for(lock, kPatience, enough)) in_vain_ = true;
  }
  const grpc::Status status = Answer(*request, response);
  const std::lock_guard lock(mutex_);
  --now_;
  return status;
}

grpc::Status FakeSigning::SignStream(grpc::ServerContext* context,
                                     grpc::ServerReaderWriter<StreamResponse, Request>* stream) {
  while (deaf && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Request request;
  while (stream->Read(&request)) {
    StreamResponse answer;
    answer.set_request_id(request.options().request_id());
    Response response;
    const grpc::Status status = Answer(request, &response);
    if (status.ok()) {
      *answer.mutable_response() = response;
    } else {
      answer.mutable_error()->ParseFromString(status.error_details());
    }
    stream->Write(answer);
  }
  return grpc::Status::OK;
}

grpc::Status FakeSigning::SignLarge(grpc::ServerContext*, grpc::ServerReader<Chunk>* reader, Response* response) {
  Chunk chunk;
  while (reader->Read(&chunk)) {
    const std::lock_guard lock(mutex_);
    if (chunk.has_options()) seen_.options.push_back(chunk.options());
    seen_.chunks.push_back(chunk.data().size());
    seen_.large_octets += chunk.data().size();
  }
  Fill(response);
  return grpc::Status::OK;
}

grpc::Status FakeSigning::SignDigest(grpc::ServerContext*, const Digest* request, Response* response) {
  const std::lock_guard lock(mutex_);
  seen_.digests.push_back(*request);
  Fill(response);
  return grpc::Status::OK;
}

FakeSignerd::FakeSignerd(hallmark::admin::v1::AdminService::Service* admin,
                         hallmark::signing::v1::SigningService::Service* signing,
                         const std::vector<grpc::Service*>& more) {
  const auto authority = hallmark::MakeAuthority("test");
  const Pem server = Issue(*authority, {"server", {"localhost"}, {}, {}, Usage::kServer});
  const Pem client = Issue(*authority, {"client", {"client.test"}, {}, {}, Usage::kClient});
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = server.ca;
  options.pem_key_cert_pairs.push_back({server.key, server.certificate});
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port_);
  builder.SetMaxReceiveMessageSize(-1);
  if (admin != nullptr) builder.RegisterService(admin);
  if (signing != nullptr) builder.RegisterService(signing);
  for (grpc::Service* service : more) builder.RegisterService(service);
  server_ = builder.BuildAndStart();
  WriteText(folder_ / "ca.pem", client.ca);
  WriteText(folder_ / "client.pem", client.certificate);
  WriteText(folder_ / "client.key", client.key);
  MoveTo("127.0.0.1:" + std::to_string(port_));
}

void FakeSignerd::MoveTo(const std::string& address) const {
  WriteText(folder_ / "dkimctl.toml", Section("admin", address) + Section("signing", address));
}

FakeSignerd::~FakeSignerd() {
  if (server_) server_->Shutdown();
}
