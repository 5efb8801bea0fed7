#pragma once

#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark {

// Base64 with padding, no line breaks (RFC 4648 section 4). Any thread.
std::string Base64Encode(ByteView octets);

// Strict: no white space, full padding, zero spare bits. kInvalidArgument otherwise.
Result<Bytes> Base64Decode(std::string_view text);

// Lower-case hexadecimal.
std::string HexEncode(ByteView octets);

// Either case, an even number of digits and nothing else. kInvalidArgument otherwise.
Result<Bytes> HexDecode(std::string_view text);

// How many octets the UTF-8 character at the start of `text` has (RFC 3629); 0 when there is none.
std::size_t Utf8Octets(std::string_view text);

}  // namespace hallmark
