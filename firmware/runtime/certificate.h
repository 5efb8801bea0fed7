#pragma once

#include <filesystem>

#include "firmware/runtime/result.h"

namespace hallmark {

// What mutual TLS needs from its three PEM files; gRPC itself takes unusable ones without a word and refuses every
// handshake later. Each gives kConfigInvalid that says which file is wrong, and how. Any thread.

// A certificate that is valid now.
Status CheckCertificate(const std::filesystem::path& certificate);
// The private key of `certificate`, not encrypted: a daemon starts alone. Ok when the certificate cannot be read, which
// CheckCertificate says.
Status CheckPrivateKey(const std::filesystem::path& private_key, const std::filesystem::path& certificate);
// At least one certificate, and none that cannot be read: gRPC knows only those before it.
Status CheckClientCa(const std::filesystem::path& client_ca);

}  // namespace hallmark
