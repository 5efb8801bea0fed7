#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tools/migration/opendkim.h"
#include "tools/migration/private_key.h"
#include "tools/migration/rspamd.h"
#include "tools/migration/ucl.h"

// Other signers' files: the first octet says which kind. Every file that the configuration names has the same octets.
// Nothing is read outside of what is given, and what comes out holds to its own rules.

namespace {

using namespace hallmark;
using namespace hallmark::migration;

void Insist(bool condition) {
  if (!condition) std::abort();
}

void CheckPlan(const Result<Plan>& plan) {
  if (!plan) {
    Insist(!plan.error().message.empty());
    return;
  }
  for (const PlannedKey& key : plan->keys) {
    Insist(plan->domains.contains(key.domain));
    Insist(!key.selector.empty() && key.selector.find_first_of(";\r\n ") == std::string::npos);
  }
  for (const std::string& author : plan->author_domains) {
    const std::string name = author[0] == '.' ? author.substr(1) : author;
    Insist(std::any_of(plan->domains.begin(), plan->domains.end(),
                       [&](const std::string& domain) { return IsOrIsBelow(name, domain); }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  int reads = 0;
  const Files files{[&](const std::string& path) -> Result<std::string> {
                      if (++reads > 20 || path == "/folder") return MakeError(Reason::kNotFound, "no such file");
                      return text;
                    },
                    [](const std::string&) -> Result<std::vector<std::string>> {
                      return std::vector<std::string>{"example.com.dkim.key"};
                    }};
  switch (data[0] % 4) {
    case 0: CheckPlan(PlanFromOpenDkim("/conf", files)); break;
    case 1: CheckPlan(PlanFromRspamd("/folder", files)); break;
    case 2: {
      const auto parsed = ParseUcl(text, "file");
      if (parsed) Insist(parsed->kind == Ucl::Kind::kObject);
      break;
    }
    case 3: {
      const auto key = ParsePrivateKey(SecretOctets(data + 1, data + size), [] { return std::nullopt; });
      if (key) Insist(!key->pkcs8.empty() && !key->spki.empty() && key->bits > 0);
      break;
    }
  }
  return 0;
}
