#include "firmware/runtime/openssl_reason.h"

#include <openssl/err.h>

namespace hallmark {

std::string OpenSslReason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "" : std::string(": ") + reason;
}

}  // namespace hallmark
