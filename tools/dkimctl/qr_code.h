#pragma once

#include <string>
#include <string_view>

#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// A QR code of `text` for a terminal of any colours: two rows of it a line, as half blocks, white on black by ANSI
// escapes. A code of 110 characters is 45 columns wide and 23 lines high.
Answer<std::string> QrCode(std::string_view text);

}  // namespace hallmark::ctl
