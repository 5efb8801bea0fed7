#include "signerd/dkim/canonical.h"

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/body_canonicalizer.h"

namespace hallmark::dkim {

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
  // Unfolding removes each CRLF; the white space around it then belongs to one run, which becomes one space. A run at
  // either end goes.
  bool any = false, gap = false;
  for (const char c : raw.substr(colon + 1)) {
    if (IsFws(c)) {
      gap = true;
      continue;
    }
    if (gap && any) out.push_back(' ');
    gap = false;
    any = true;
    out.push_back(c);
  }
  out.append("\r\n");
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
