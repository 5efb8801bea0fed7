// What watching costs a message: the pipeline's one call of its Observer, with metrics and the watcher behind it, from
// one thread and from several, for one partner and for a thousand.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "signerd/watch/tap.h"

namespace hallmark::watch {
namespace {

Tap& TheTap() {
  static Tap tap;
  return tap;
}

void Observe(benchmark::State& state) {
  std::vector<std::string> partners, domains, authors;
  for (int i = 0; i < state.range(0); ++i) {
    partners.push_back("partner" + std::to_string(i));
    domains.push_back("mail.partner" + std::to_string(i) + ".example");
    authors.push_back("some.body@mail.partner" + std::to_string(i) + ".example");
  }
  const auto at = std::chrono::steady_clock::now();
  const auto after = [&](int us) { return at + std::chrono::microseconds(us); };
  pipeline::Answered answered;
  answered.relay = "relay1";
  answered.octets = 20'000;
  answered.recipients = 1;
  answered.stamps = {at, after(100), after(200), after(900), after(1000), after(1800)};
  std::size_t i = 0, calls = 0;
  for (auto _ : state) {
    answered.partner = partners[i];
    answered.signing_domain = domains[i];
    answered.author = authors[i];
    TheTap().OnAnswer(answered);
    if (++i == partners.size()) i = 0;
    // As the watcher does once a second.
    if (state.thread_index() == 0 && ++calls % 100'000 == 0) TheTap().traffic.Take();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(Observe)->Arg(1)->Arg(1000)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace hallmark::watch

BENCHMARK_MAIN();
