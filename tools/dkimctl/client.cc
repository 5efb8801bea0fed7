#include "tools/dkimctl/client.h"

#include <grpc/support/log.h>

#include <cstdlib>

#include "firmware/runtime/config.h"
#include "firmware/runtime/file.h"

namespace hallmark::ctl {
namespace {

constexpr std::size_t kMaxPem = 1u << 20;

std::string ReadPem(ConfigTable& table, const std::string& key, std::string_view expected) {
  const std::filesystem::path path = table.ReadableFile(key, expected);
  if (path.empty()) return "";
  auto content = ReadFile(path, kMaxPem);
  if (!content) {
    table.Reject(key, content.error().message, expected);
    return "";
  }
  return std::move(*content);
}

Endpoint ReadEndpoint(ConfigTable table) {
  Endpoint endpoint;
  endpoint.server = table.String("server", "an address and port such as \"127.0.0.1:8462\"");
  endpoint.server_name =
      table.String("server_name", "the name that the server's certificate says, such as \"localhost\"");
  endpoint.ca = ReadPem(table, "ca", "a PEM file with the server's CA");
  endpoint.certificate = ReadPem(table, "certificate", "a PEM file with the client's certificate");
  endpoint.private_key = ReadPem(table, "private_key", "a PEM file with the client's private key");
  return endpoint;
}

// gRPC's own log would add lines of its own to standard error; what went wrong is in the status of the call.
void SilenceGrpc() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace

Answer<ClientConfig> LoadClientConfig(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "dkimctl.toml";
  auto file = ConfigFile::Load(path);
  if (!file && file.error().reason == Reason::kNotFound) {
    return Failed(path.string() +
                  " does not exist; name the set-up with --dir, or make one with: dkimctl init --dir DIR");
  }
  if (!file) return FromError(file.error());
  ConfigTable root = (*file)->root();
  ClientConfig config;
  config.admin = ReadEndpoint(root.Table("admin"));
  config.signing = ReadEndpoint(root.Table("signing"));
  if (const Status status = (*file)->Finish(); !status) return FromError(status.error());
  return config;
}

std::shared_ptr<grpc::Channel> OpenChannel(const Endpoint& endpoint) {
  SilenceGrpc();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = endpoint.ca;
  options.pem_cert_chain = endpoint.certificate;
  options.pem_private_key = endpoint.private_key;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(endpoint.server_name);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(endpoint.server, grpc::SslCredentials(options), arguments);
}

std::chrono::milliseconds Timeout(const Context& context) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(context.timeout_seconds * 1000) + 1);
}

AdminClient::AdminClient(const Endpoint& endpoint, std::chrono::milliseconds timeout)
    : server_(endpoint.server), timeout_(timeout), channel_(OpenChannel(endpoint)) {}

Answer<AdminClient> AdminClient::Open(const Context& context) {
  auto config = LoadClientConfig(context.Directory());
  if (!config) return config.error();
  return AdminClient(config->admin, Timeout(context));
}

Answer<admin::v1::ListDomainsResponse> AdminClient::ListDomains() {
  admin::v1::ListDomainsResponse all;
  admin::v1::ListDomainsRequest request;
  do {
    auto page = Call(&Stub::ListDomains, request);
    if (!page) return page;
    all.mutable_domains()->MergeFrom(page->domains());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Answer<admin::v1::ListKeysResponse> AdminClient::ListKeys(const std::string& domain) {
  admin::v1::ListKeysResponse all;
  admin::v1::ListKeysRequest request;
  request.set_domain(domain);
  do {
    auto page = Call(&Stub::ListKeys, request);
    if (!page) return page;
    all.mutable_keys()->MergeFrom(page->keys());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return all;
}

}  // namespace hallmark::ctl
