#pragma once

#include <cstdint>
#include <string>

#include "firmware/runtime/result.h"
#include "hsm/link/frame.h"

namespace hallmark::tokens {

// What tokend's outcome means to whoever asked for a signature of `token`; not for kOk. `code` is the CK_RV, 0 where
// there is none; `detail` is added to the sentence.
Error ErrorOf(link::Outcome outcome, const std::string& token, std::uint64_t code, const std::string& detail = "");

// The same of a key call, where tokend's own sentence says more.
Error ErrorOf(const link::KeyReply& reply, const std::string& token);

}  // namespace hallmark::tokens
