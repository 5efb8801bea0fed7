#pragma once

#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark::provision {

// Whether a recovery key can be encrypted for each certificate of `pem`, the file recipients.pem: tries it, as
// make-recovery will do it. kConfigInvalid says what is wrong; `name` is for messages.
Status CheckRecipients(std::string_view pem, const std::string& name);

}  // namespace hallmark::provision
