#include "tools/dkimctl/client.h"

#include <grpc/support/log.h>

#include <cstdlib>
#include <thread>

#include "firmware/runtime/config.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/secret.h"
#include "signerd/operators/totp.h"
#include "tools/dkimctl/credentials.h"
#include "tools/dkimctl/session_file.h"

namespace hallmark::ctl {
namespace {

constexpr std::size_t kMaxPem = 1u << 20;

constexpr std::string_view kPkcs11 = "pkcs11:";

std::string ReadPem(ConfigTable& table, const std::string& key, std::string_view expected,
                    std::filesystem::path* where = nullptr) {
  const std::filesystem::path path = table.ReadableFile(key, expected);
  if (path.empty()) return "";
  if (where != nullptr) *where = path;
  auto content = ReadFile(path, kMaxPem);
  if (!content) {
    table.Reject(key, content.error().message, expected);
    return "";
  }
  return std::move(*content);
}

Endpoint ReadEndpoint(ConfigTable& table, std::filesystem::path* certificate = nullptr) {
  Endpoint endpoint;
  endpoint.server = table.String("server", "an address and port such as \"127.0.0.1:8462\"");
  endpoint.server_name =
      table.String("server_name", "the name that the server's certificate says, such as \"localhost\"");
  endpoint.ca = ReadPem(table, "ca", "a PEM file with the server's CA");
  endpoint.certificate = ReadPem(table, "certificate", "a PEM file with the client's certificate", certificate);
  constexpr std::string_view kPrivateKey = "a PEM file with the client's private key, or its PKCS#11 URI";
  endpoint.private_key = table.String("private_key", kPrivateKey);
  if (!endpoint.private_key.empty() && !endpoint.private_key.starts_with(kPkcs11)) {
    endpoint.private_key = ReadPem(table, "private_key", kPrivateKey);
  }
  endpoint.module = table.String("module", "the PKCS#11 module of the private key", "");
  return endpoint;
}

// The files of another operator in place of the configured ones.
Answer<void> ActAs(const std::filesystem::path& directory, const std::string& as, ClientConfig& config) {
  if (as.empty()) return {};
  if (as.find('/') != std::string::npos) return WrongUsage("--as: expected the name of an operator's files");
  auto certificate = ReadFile(directory / "tls" / (as + ".pem"), kMaxPem);
  if (!certificate) return FromError(certificate.error());
  auto key = ReadFile(directory / "tls" / (as + ".key"), kMaxPem);
  if (!key) return FromError(key.error());
  config.admin.certificate = std::move(*certificate);
  config.admin.private_key = std::move(*key);
  config.operator_name = as;
  config.totp_secret = directory / "secrets" / (as + ".totp");
  return {};
}

// gRPC's own log would add lines of its own to standard error; what went wrong is in the status of the call.
void SilenceGrpc() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace

Answer<ClientConfig> LoadClientConfig(const std::filesystem::path& directory, const std::string& as) {
  const std::filesystem::path path = directory / "dkimctl.toml";
  auto file = ConfigFile::Load(path);
  if (!file && file.error().reason == Reason::kNotFound) {
    return Failed(path.string() +
                  " does not exist; name the set-up with --dir, or make one with: dkimctl init --dir DIR");
  }
  if (!file) return FromError(file.error());
  ConfigTable root = (*file)->root();
  ClientConfig config;
  ConfigTable admin = root.Table("admin");
  std::filesystem::path certificate;
  config.admin = ReadEndpoint(admin, &certificate);
  config.operator_name = certificate.stem().string();
  const std::string secret = admin.String("totp_secret_file", "a file with the operator's TOTP secret", "");
  if (!secret.empty()) config.totp_secret = directory / secret;
  ConfigTable signing = root.Table("signing");
  config.signing = ReadEndpoint(signing);
  if (const Status status = (*file)->Finish(); !status) return FromError(status.error());
  if (auto done = ActAs(directory, as, config); !done) return done.error();
  config.session = SessionPath(directory, config.operator_name);
  return config;
}

std::shared_ptr<grpc::Channel> OpenChannel(const Endpoint& endpoint) {
  SilenceGrpc();
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(endpoint.server_name);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(-1);
  // A call that takes as long as it takes has no deadline: it ends when nobody is at the other end any more.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(endpoint.server, Credentials(endpoint), arguments);
}

std::chrono::milliseconds Timeout(const Context& context) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(context.timeout_seconds * 1000) + 1);
}

AdminClient::AdminClient(ClientConfig config, std::chrono::milliseconds timeout)
    : config_(std::move(config)),
      timeout_(timeout),
      channel_(OpenChannel(config_.admin)),
      session_(ReadSession(config_.session)) {}

Answer<AdminClient> AdminClient::Open(const Context& context) {
  auto config = LoadClientConfig(context.Directory(), context.as);
  if (!config) return config.error();
  return AdminClient(std::move(*config), Timeout(context));
}

Answer<void> AdminClient::Keep(const admin::v1::Session& session) {
  session_ = session.token();
  return WriteSession(config_.session, session_);
}

void AdminClient::Forget() {
  session_.clear();
  RemoveSession(config_.session);
}

Answer<admin::v1::Session> AdminClient::Login(const std::string& code) {
  admin::v1::LoginRequest request;
  request.set_code(code);
  auto session = CallOnce(&Operators::Login, request);
  if (!session) return session;
  if (const auto kept = Keep(*session); !kept) {
    Complain("logged in for this command only: " + kept.error().message);
  }
  return session;
}

Answer<admin::v1::Session> AdminClient::LoginBySecret() {
  const auto text = ReadSecretFile(config_.totp_secret);
  if (!text) return FromError(text.error());
  const auto secret = totp::FromBase32(text->view());
  if (!secret) return Failed(config_.totp_secret.string() + ": " + secret.error().message);
  const auto step = [] {
    return totp::StepAt(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
  };
  // signerd takes the code of the step before, of this and of the next one, each once and in this order: three logins
  // in half a minute, and then the next one waits.
  const std::int64_t start = step();
  std::int64_t tried = start - 2;
  bool told = false;
  Answer<admin::v1::Session> session = Failed("no code was taken");
  while (tried < start + 2) {
    if (tried >= step() + 1) {
      if (!told) Complain("the codes of this half minute are used: waiting for the next");
      told = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      continue;
    }
    session = Login(totp::CodeAt(*secret, ++tried));
    if (session || session.error().reason != "LOGIN_REFUSED") return session;
  }
  return session;
}

bool AdminClient::HasSecret() const {
  std::error_code ignored;
  return !config_.totp_secret.empty() && std::filesystem::exists(config_.totp_secret, ignored);
}

Answer<void> AdminClient::LogInAgain(const Failure& asked) {
  if (HasSecret()) {
    const auto session = LoginBySecret();
    if (!session) return session.error();
    return {};
  }
  const std::string code = AskForCode(config_.operator_name);
  if (code.empty()) return asked;
  const auto session = Login(code);
  if (!session) return session.error();
  return {};
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
