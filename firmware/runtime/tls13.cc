#include "firmware/runtime/tls13.h"

#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/ssl.h>

#include <memory>

namespace hallmark {

Status RequireTls13() {
  // The "system default" applies to each SSL_CTX when it is made. It turns older versions off as options, which a later
  // SSL_CTX_set_min_proto_version() of gRPC (to TLS 1.2) does not turn on again.
  constexpr char kConfiguration[] =
      "hallmark = modules\n"
      "[modules]\n"
      "ssl_conf = ssl_sections\n"
      "[ssl_sections]\n"
      "system_default = tls13_only\n"
      "[tls13_only]\n"
      "Protocol = -ALL,TLSv1.3\n";
  // The machine's own configuration first, so that it cannot replace this one later. And no cleaning up in exit():
  // gRPC's threads may be in a handshake then, and would fall over what is gone.
  OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, nullptr);
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new_mem_buf(kConfiguration, -1), &BIO_free);
  const std::unique_ptr<CONF, decltype(&NCONF_free)> configuration(NCONF_new(nullptr), &NCONF_free);
  if (text == nullptr || configuration == nullptr || NCONF_load_bio(configuration.get(), text.get(), nullptr) != 1 ||
      CONF_modules_load(configuration.get(), "hallmark", 0) != 1) {
    return MakeError(Reason::kInternal, "OpenSSL did not take the setting that allows TLS 1.3 only");
  }
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> probe(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (probe == nullptr || (SSL_CTX_get_options(probe.get()) & SSL_OP_NO_TLSv1_2) == 0) {
    return MakeError(Reason::kInternal, "OpenSSL still allows TLS 1.2 after it was told not to");
  }
  return Ok();
}

}  // namespace hallmark
