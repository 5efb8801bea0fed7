#pragma once

#include <filesystem>

#include "firmware/runtime/result.h"

namespace hallmark {

// Whether these PEM files can serve mutual TLS: they parse, the private key is that of the certificate, the certificate
// is valid now, and the client CA holds at least one certificate. kConfigInvalid says which file is wrong, and how.
Status CheckServerCertificate(const std::filesystem::path& certificate, const std::filesystem::path& private_key,
                              const std::filesystem::path& client_ca);

}  // namespace hallmark
