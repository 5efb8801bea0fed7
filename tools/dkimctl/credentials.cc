#include "tools/dkimctl/credentials.h"

#include <cstdlib>

namespace hallmark::ctl {

std::shared_ptr<grpc::ChannelCredentials> Credentials(const Endpoint& endpoint) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = endpoint.ca;
  options.pem_cert_chain = endpoint.certificate;
  options.pem_private_key = endpoint.private_key;
  if (endpoint.private_key.starts_with("pkcs11:")) {
    // gRPC hands this to OpenSSL's engine "pkcs11" (libengine-pkcs11-openssl), which signs in the token.
    options.pem_private_key = "engine:pkcs11:" + endpoint.private_key;
    if (!endpoint.module.empty()) ::setenv("PKCS11_MODULE_PATH", endpoint.module.c_str(), 1);
  }
  return grpc::SslCredentials(options);
}

}  // namespace hallmark::ctl
