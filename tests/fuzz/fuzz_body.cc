#include <string>

#include "../signerd/dkim/naive_canonical.h"
#include "check.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/canonical.h"

// A body in pieces gives what the whole one gives, which is what the RFC says (naive_canonical.h).
namespace {

using namespace hallmark::dkim;

void TryForm(Canonicalization form, std::string_view body, std::string_view sizes) {
  const std::string expected = naive::Body(form == Canonicalization::kRelaxed, body);
  Check(CanonicalBody(form, body) == expected, "a whole body is canonical");

  std::string canonical;
  auto sink = [&canonical](std::string_view octets) { canonical.append(octets); };
  BodyCanonicalizer canonicalizer(form);
  InPieces(body, sizes, [&](std::string_view piece) { canonicalizer.Push(std::string(piece), sink); });
  canonicalizer.Finish(sink);
  Check(canonical == expected, "a body in pieces is canonical");
  Check(canonicalizer.facts().octets == body.size(), "all octets are counted");

  BodyHasher hasher(form);
  InPieces(body, sizes, [&](std::string_view piece) { hasher.Push(piece); });
  const BodyHash hash = hasher.Finish();
  Check(hash.digest == Sha256Of(expected) && hash.length == expected.size(), "the hash is of the canonical octets");

  const std::uint64_t limit = sizes.empty() ? 0 : static_cast<std::uint8_t>(sizes.back());
  BodyHasher limited(form, limit);
  limited.Push(body);
  Check(limited.Finish().digest == Sha256Of(std::string_view(expected).substr(0, limit)),
        "a limit cuts the canonical octets");
  Check(limited.canonical_octets() == expected.size(), "a limit does not stop the count");

  Check(CanonicalBody(form, expected) == expected || expected.empty(), "a canonical body is its own canonical form");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = TakeSizes(input);
  TryForm(Canonicalization::kSimple, input, sizes);
  TryForm(Canonicalization::kRelaxed, input, sizes);
  return 0;
}
