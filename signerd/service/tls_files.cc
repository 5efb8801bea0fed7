#include "signerd/service/tls_files.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/crypto.h>

#include "firmware/runtime/certificate.h"
#include "firmware/runtime/file.h"

namespace hallmark::service {
namespace {

constexpr std::size_t kMostOctets = 1 << 20;

// What one server took last. gRPC calls Fetch for each handshake, one at a time.
struct Fetcher {
  const TlsFiles& files;
  std::shared_ptr<const TlsFiles::Content> taken;

  static grpc_ssl_certificate_config_reload_status Fetch(void* self, grpc_ssl_server_certificate_config** config) {
    auto& fetcher = *static_cast<Fetcher*>(self);
    auto current = fetcher.files.current();
    if (current == fetcher.taken) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{current->private_key.c_str(), current->certificate.c_str()};
    *config = grpc_ssl_server_certificate_config_create(current->client_ca.c_str(), &pair, 1);
    fetcher.taken = std::move(current);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }
};

// gRPC's C++ interface has no way to its certificate fetcher, and its FileWatcherCertificateProvider drops the
// certificates in force when the new ones are bad. So this opens the port through the C interface.
class FetchingCredentials final : public grpc::ServerCredentials {
 public:
  explicit FetchingCredentials(const TlsFiles& files)
      : fetcher_{files, nullptr},
        credentials_(grpc_ssl_server_credentials_create_with_options(
                         grpc_ssl_server_credentials_create_options_using_config_fetcher(
                             GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, &Fetcher::Fetch, &fetcher_)),
                     &grpc_server_credentials_release) {}

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_.get());
  }
  Fetcher fetcher_;
  std::unique_ptr<grpc_server_credentials, decltype(&grpc_server_credentials_release)> credentials_;
};

}  // namespace

TlsFiles::Content::~Content() { OPENSSL_cleanse(private_key.data(), private_key.size()); }

Result<TlsFiles::Content> TlsFiles::Read() const {
  Content content;
  for (const auto& [file, text] :
       {std::pair(&config_.certificate, &content.certificate), std::pair(&config_.private_key, &content.private_key),
        std::pair(&config_.client_ca, &content.client_ca)}) {
    auto read = ReadFile(*file, kMostOctets);
    if (!read) return read.error();
    *text = std::move(*read);
  }
  return content;
}

Result<std::unique_ptr<TlsFiles>> TlsFiles::Load(const ListenerConfig& config) {
  std::unique_ptr<TlsFiles> files(new TlsFiles(config));
  const Status refreshed = files->Refresh();
  if (!refreshed) return refreshed.error();
  return files;
}

Status TlsFiles::Refresh() {
  auto content = Read();
  if (!content) return content.error();
  const auto current = current_.load();
  if (current != nullptr && *current == *content) return Ok();
  for (const Status& usable :
       {CheckCertificate(config_.certificate), CheckPrivateKey(config_.private_key, config_.certificate),
        CheckClientCa(config_.client_ca)}) {
    if (!usable) return usable;
  }
  // What was checked is what was read only if nothing was written meanwhile.
  const auto again = Read();
  if (!again) return again.error();
  if (*again != *content) return MakeError(Reason::kIoFailed, config_.certificate.string() + ": is being written");
  current_.store(std::make_shared<const Content>(std::move(*content)));
  return Ok();
}

std::shared_ptr<grpc::ServerCredentials> TlsFiles::Credentials() const {
  return std::make_shared<FetchingCredentials>(*this);
}

}  // namespace hallmark::service
