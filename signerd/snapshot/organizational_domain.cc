#include "signerd/snapshot/organizational_domain.h"

#include <libpsl.h>

#include <memory>
#include <string>

namespace hallmark::snapshot {
namespace {

// Read-only once it is there: as constant as the tables of the library, which it falls back to.
const psl_ctx_t* List() {
  static const std::unique_ptr<psl_ctx_t, decltype(&psl_free)> list(psl_latest(nullptr), &psl_free);
  return list != nullptr ? list.get() : psl_builtin();
}

}  // namespace

std::string_view OrganizationalDomain(std::string_view domain) {
  const std::string name(domain);
  const char* const found = psl_registrable_domain(List(), name.c_str());
  return found == nullptr ? std::string_view() : domain.substr(static_cast<std::size_t>(found - name.c_str()));
}

}  // namespace hallmark::snapshot
