#include <string>
#include <vector>

#include "check.h"
#include "signerd/snapshot/organizational_domain.h"
#include "signerd/snapshot/rules.h"

// Four lines: a domain rule, an address pattern, an address, and its domain. What can be read as a rule is written so
// that it reads the same; and matching any octets against it ends.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hallmark::snapshot;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string_view lines[4];
  for (std::string_view& line : lines) {
    line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  const auto [rule, pattern, address, domain] = lines;
  if (const auto rules = DomainRules::Parse({std::string(rule)})) {
    Check(rules->texts().size() == 1, "one rule is one rule");
    const std::string normal = *rules->texts().begin();
    const auto again = DomainRules::Parse({normal});
    Check(again && *again == *rules, "a rule in its normal form reads the same");
    Check(rules->Cover(normal), "a rule covers itself");
    if (normal != "*" && !normal.starts_with('.')) Check(rules->Match(normal), "an exact rule matches its domain");
    if (rules->Match(domain)) Check(rules->MatchAny(domain), "what is matched is matched from below too");
  }
  if (const auto parsed = AddressPattern::Parse(pattern)) {
    const auto again = AddressPattern::Parse(parsed->text());
    Check(again && *again == *parsed, "a pattern reads the same");
    parsed->Match(address, domain);
  }
  if (domain.find('\0') == std::string_view::npos) {
    const std::string_view organizational = OrganizationalDomain(domain);
    Check(organizational.empty() || domain.ends_with(organizational), "an organizational domain is within the domain");
  }
  return 0;
}
