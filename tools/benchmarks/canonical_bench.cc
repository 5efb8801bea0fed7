// Canonicalization and hashing of bodies on one core: ours, OpenSSL's SHA-256 alone over the same octets, libopendkim.
// Octets a second count the body as it came.
#include <benchmark/benchmark.h>

#include <functional>

#include "signerd/dkim/body_batch.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/canonical_kernel.h"
#include "signerd/dkim/sha256.h"
#include "tools/benchmarks/bodies.h"
#include "tools/benchmarks/opendkim_peer.h"

namespace hallmark::bench {
namespace {

using dkim::Canonicalization;
using dkim::MultiHash;

constexpr std::size_t kBatch = 32;  // what a busy pipeline finds in its queue

void Count(benchmark::State& state, std::size_t octets) {
  state.SetBytesProcessed(static_cast<std::int64_t>(octets * state.iterations()));
}

void Batched(benchmark::State& state, const std::string& body, MultiHash::Engine engine) {
  // Bodies of their own, so that a batch does not live in the cache of one.
  const std::vector<std::string> bodies(kBatch, body);
  dkim::BodyBatch batch(engine);
  for (auto _ : state) {
    for (const std::string& one : bodies) batch.Add(Canonicalization::kRelaxed, one);
    benchmark::DoNotOptimize(batch.Hash());
  }
  Count(state, body.size() * kBatch);
}

void SingleStream(benchmark::State& state, const std::string& body) {
  for (auto _ : state) {
    dkim::BodyHasher hasher(Canonicalization::kRelaxed);
    hasher.Push(body);
    benchmark::DoNotOptimize(hasher.Finish());
  }
  Count(state, body.size());
}

void CanonicalOnly(benchmark::State& state, const std::string& body, const dkim::CanonicalKernel& kernel) {
  for (auto _ : state) {
    std::size_t octets = 0;
    auto sink = [&octets](std::string_view text) { octets += text.size(); };
    dkim::BodyCanonicalizer canonicalizer(Canonicalization::kRelaxed, kernel);
    canonicalizer.Push(body, sink);
    canonicalizer.Finish(sink);
    benchmark::DoNotOptimize(octets);
  }
  Count(state, body.size());
}

void OpenSsl(benchmark::State& state, const std::string& body) {
  for (auto _ : state) benchmark::DoNotOptimize(dkim::Sha256Of(body));
  Count(state, body.size());
}

void LibOpenDkim(benchmark::State& state, const std::string& body) {
  OpenDkimPeer* peer = OpenDkimOpen();
  std::string text = body;
  for (auto _ : state) {
    if (OpenDkimHash(peer, text.data(), text.size()) != 1) state.SkipWithError("libopendkim does not take the message");
  }
  OpenDkimClose(peer);
  Count(state, body.size());
}

std::string SizeName(std::size_t size) {
  if (size >= 1'000'000) return std::to_string(size / 1'000'000) + "MB";
  return std::to_string(size / 1000) + "kB";
}

void Register(const std::string& name, std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark(name.c_str(), [run](benchmark::State& state) { run(state); });
}

void RegisterAll() {
  for (const bool dirty : {false, true}) {
    for (const std::size_t size : {2'000u, 20'000u, 200'000u, 10'000'000u}) {
      const auto body = std::make_shared<const std::string>(Body(size, dirty));
      const std::string suffix = std::string(dirty ? "/dirty/" : "/clean/") + SizeName(size);
      Register("batched" + suffix, [=](auto& state) { Batched(state, *body, MultiHash::Engine::kBest); });
      Register("batched-openssl" + suffix, [=](auto& state) { Batched(state, *body, MultiHash::Engine::kOpenSsl); });
      Register("single" + suffix, [=](auto& state) { SingleStream(state, *body); });
      for (const dkim::CanonicalKernel& kernel : dkim::Kernels()) {
        Register("kernel-" + std::string(kernel.name) + suffix,
                 [=, &kernel](auto& state) { CanonicalOnly(state, *body, kernel); });
      }
      Register("openssl" + suffix, [=](auto& state) { OpenSsl(state, *body); });
      Register("libopendkim" + suffix, [=](auto& state) { LibOpenDkim(state, *body); });
    }
  }
}

}  // namespace
}  // namespace hallmark::bench

int main(int argc, char** argv) {
  hallmark::bench::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
