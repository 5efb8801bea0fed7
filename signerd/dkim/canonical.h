#pragma once

#include <string>
#include <string_view>

#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// A header field in canonical form (RFC 6376 sections 3.4.1 and 3.4.2). `raw` is the whole field with its final CRLF,
// every line end CRLF (Field::raw). Appends to `out`, final CRLF included.
void AppendCanonicalField(Canonicalization canonicalization, std::string_view raw, std::string& out);
std::string CanonicalField(Canonicalization canonicalization, std::string_view raw);

// A whole body in canonical form (sections 3.4.3 and 3.4.4), by the code that hashes it: for diagnosis and tests.
std::string CanonicalBody(Canonicalization canonicalization, std::string_view body);

}  // namespace hallmark::dkim
