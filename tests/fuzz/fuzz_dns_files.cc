#include <string>

#include "check.h"
#include "signerd/dns/dnssec.h"
#include "signerd/dns/tsig_key.h"

// Files that an operator gives: a TSIG key in each of its forms, and trust anchors.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hallmark;
  using namespace hallmark::dns;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* algorithm : {"", "hmac-sha512"}) {
    const auto key = ParseTsigKey(text, *algorithm ? "name" : "", algorithm);
    if (!key) {
      Check(key.error().reason == Reason::kConfigInvalid && !key.error().message.empty(), "a fault has a sentence");
      continue;
    }
    Check(key->algorithm == "hmac-sha256" || key->algorithm == "hmac-sha512", "the algorithm is one of two");
    const std::string line = key->algorithm + ":" + key->name + ":" + std::string(key->secret.view());
    const auto again = ParseTsigKey(line, "", "");
    Check(key->name.find(':') != std::string::npos || (again && again->secret.view() == key->secret.view()),
          "a key reads the same in another form");
  }
  const auto anchors = ParseTrustAnchors(text);
  Check(!anchors || ldns_rr_list_rr_count(anchors->get()) > 0, "there is an anchor");
  return 0;
}
