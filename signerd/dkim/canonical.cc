#include "signerd/dkim/canonical.h"

#include <utility>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/body_canonicalizer.h"
#include "signerd/dkim/canonical_kernel.h"

namespace hallmark::dkim {

namespace {

// Unfolding removes each CRLF; the white space around it then belongs to one run, which becomes one space. A run at the
// end goes.
void AppendUnfolded(std::string_view value, std::string& out) {
  bool gap = false;
  for (const char c : value) {
    if (IsFws(c)) {
      gap = true;
      continue;
    }
    if (std::exchange(gap, false)) out.push_back(' ');
    out.push_back(c);
  }
  out.append("\r\n");
}

}  // namespace

void AppendCanonicalField(Canonicalization canonicalization, std::string_view raw, std::string& out) {
  if (canonicalization == Canonicalization::kSimple) {
    out.append(raw);
    return;
  }
  const std::size_t colon = raw.find(':');
  std::string_view name = raw.substr(0, colon);
  while (!name.empty() && IsWsp(name.back())) name.remove_suffix(1);
  for (const char c : name) out.push_back(Lower(c));
  out.push_back(':');
  std::string_view value = raw.substr(colon + 1);
  while (!value.empty() && IsFws(value.front())) value.remove_prefix(1);
  LineTally lines;
  if (value.ends_with("\r\n") && value.find('\r') == value.size() - 2 &&
      BestKernel().is_clean(true, value, '\0', lines)) {
    out.append(value);
    return;
  }
  AppendUnfolded(value, out);
}

std::string CanonicalField(Canonicalization canonicalization, std::string_view raw) {
  std::string out;
  AppendCanonicalField(canonicalization, raw, out);
  return out;
}

std::string CanonicalBody(Canonicalization canonicalization, std::string_view body) {
  std::string out;
  auto sink = [&out](std::string_view octets) { out.append(octets); };
  BodyCanonicalizer canonicalizer(canonicalization);
  canonicalizer.Push(body, sink);
  canonicalizer.Finish(sink);
  return out;
}

}  // namespace hallmark::dkim
