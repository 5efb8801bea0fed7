#include <deque>
#include <string>
#include <vector>

#include "../signerd/dkim/naive_canonical.h"
#include "check.h"
#include "signerd/dkim/body_batch.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/canonical.h"

// A body in pieces gives what the whole one gives, which is what the RFC says (naive_canonical.h); so do bodies in a
// batch, by whatever kernel and engine.
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

// Batches by every kernel, and by every engine with the best of them; made once, as signerd's are.
std::deque<BodyBatch>& Batches() {
  static std::deque<BodyBatch> batches = [] {
    std::deque<BodyBatch> made;
    for (const CanonicalKernel& kernel : Kernels()) made.emplace_back(MultiHash::Engine::kBest, kernel);
    for (const auto engine : {MultiHash::Engine::kOpenSsl, MultiHash::Engine::kPair, MultiHash::Engine::kWide}) {
      made.emplace_back(engine);
    }
    return made;
  }();
  return batches;
}

// Cut in two, so that the second one's canonical form is written behind what the first one left.
void TryBatches(std::string_view text, std::size_t cut) {
  struct Body {
    Canonicalization form;
    std::vector<char> octets;  // of its very size, so that a sanitizer sees who reads beyond
    std::string canonical;
    Digest digest{};
  };
  std::vector<Body> bodies;
  for (const std::string_view part : {text.substr(0, cut), text.substr(cut)}) {
    for (const auto form : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
      std::string canonical = naive::Body(form == Canonicalization::kRelaxed, part);
      const Digest digest = Sha256Of(canonical);
      bodies.push_back({form, {part.begin(), part.end()}, std::move(canonical), digest});
    }
  }
  for (BodyBatch& batch : Batches()) {
    for (const Body& body : bodies) batch.Add(body.form, {body.octets.data(), body.octets.size()});
    const std::vector<HashedBody> hashed = batch.Hash();
    Check(hashed.size() == bodies.size(), "there is one for each");
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      Check(hashed[i].hash.digest == bodies[i].digest && hashed[i].hash.length == bodies[i].canonical.size(),
            "a body of a batch has the hash of its canonical octets");
      Check(hashed[i].facts.octets == bodies[i].octets.size(), "its octets are counted");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = TakeSizes(input);
  TryForm(Canonicalization::kSimple, input, sizes);
  TryForm(Canonicalization::kRelaxed, input, sizes);
  TryBatches(input, sizes.empty() ? 0 : input.size() * static_cast<std::uint8_t>(sizes.front()) / 256);
  return 0;
}
