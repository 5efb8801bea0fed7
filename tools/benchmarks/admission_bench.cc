#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "sample.h"
#include "signerd/admission/admission.h"
#include "signerd/admission/quota.h"

// What a message pays for the decision about it: every rule and the quotas, with 10,000 partners and 100,000 domains.
// Partners and their authors are drawn at random, so that nothing of the policy stays in the caches that would not
// under real load. The header is parsed first, as on the way of a message, which leaves it in the caches: the figure is
// ParseDecideAndTake less Parse.
namespace hallmark::bench {
namespace {

constexpr int kPartners = 10'000, kDomainsEach = 10, kRelays = 10, kMessages = 1 << 14;

std::string DomainName(int partner, int domain) {
  return "d" + std::to_string(domain) + ".partner" + std::to_string(partner) + ".example";
}

struct World {
  snapshot::Snapshot view;
  struct Message {
    std::string header;
    std::string partner;
    const snapshot::Relay* relay;
  };
  std::vector<Message> messages;
  admission::Quotas quotas;
};

snapshot::Partner MakePartner(int number) {
  snapshot::Partner partner;
  partner.name = "partner" + std::to_string(number);
  std::vector<std::string> rules;
  for (int d = 0; d < kDomainsEach; ++d) rules.push_back("." + DomainName(number, d));
  partner.author_domains = partner.signing_domains = *snapshot::DomainRules::Parse(rules);
  partner.addresses = {*snapshot::AddressPattern::Parse("sales@*.example"),
                       *snapshot::AddressPattern::Parse("news-*@*.example")};
  partner.message = {true, true, true, 1 << 20};
  partner.quota = {1'000'000, 1'000'000, 1'000'000'000, 100, 1'000'000'000};
  return partner;
}

std::unique_ptr<World> MakeWorld() {
  auto world = std::make_unique<World>();
  const auto profile = std::make_shared<const dkim::PreparedProfile>(dkim::DefaultProfile());
  const auto key = std::make_shared<const snapshot::Key>(test::SampleKey("example", "s1"));
  for (int r = 0; r < kRelays; ++r) {
    const std::string name = "relay" + std::to_string(r);
    world->view.relays.emplace("dns:" + name, snapshot::Relay{name, "dns:" + name});
  }
  for (int p = 0; p < kPartners; ++p) {
    const snapshot::Partner partner = MakePartner(p);
    world->view.relays.at("dns:relay" + std::to_string(p % kRelays)).partners.insert(partner.name);
    world->view.partners.emplace(partner.name, partner);
    for (int d = 0; d < kDomainsEach; ++d) {
      const std::string name = DomainName(p, d);
      world->view.domains.emplace(name, snapshot::Domain{name, profile, {key}});
    }
  }
  std::mt19937 random(1);
  for (int m = 0; m < kMessages; ++m) {
    const int p = static_cast<int>(random() % kPartners), d = static_cast<int>(random() % kDomainsEach);
    std::string header = "From: News <news-7@mail." + DomainName(p, d) +
                         ">\r\nTo: you@example.net\r\nSubject: hello\r\nDate: Mon, 05 Jan 2026 09:30:00 +0100\r\n"
                         "Message-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n";
    world->messages.push_back({std::move(header), "partner" + std::to_string(p),
                               world->view.FindRelay("dns:relay" + std::to_string(p % kRelays))});
  }
  return world;
}

const std::unique_ptr<World>& TheWorld() {
  static const std::unique_ptr<World> world = MakeWorld();
  return world;
}

void ParseDecideAndTake(benchmark::State& state) {
  World& world = *TheWorld();
  const auto now = std::chrono::system_clock::now();
  std::size_t next = static_cast<std::size_t>(state.thread_index()) * 4099;
  for (auto _ : state) {
    const World::Message& message = world.messages[next++ % world.messages.size()];
    const auto header = dkim::Header::Parse(message.header);
    const auto decision = admission::Decide({world.view, *message.relay, message.partner, "", *header, 2000, 3,
                                             std::chrono::floor<std::chrono::seconds>(now)});
    if (!decision) {
      state.SkipWithError(decision.error().message.c_str());
      break;
    }
    auto charge = world.quotas.Take(*decision->partner, 3, now);
    if (!charge) {
      state.SkipWithError(charge.error().message.c_str());
      break;
    }
    charge->Keep();
    benchmark::DoNotOptimize(charge);
  }
}
BENCHMARK(ParseDecideAndTake)->Threads(1)->Threads(2);

void Parse(benchmark::State& state) {
  const World& world = *TheWorld();
  std::size_t next = static_cast<std::size_t>(state.thread_index()) * 4099;
  for (auto _ : state) {
    const World::Message& message = world.messages[next++ % world.messages.size()];
    benchmark::DoNotOptimize(message.partner[0] + message.relay->name[0]);
    benchmark::DoNotOptimize(dkim::Header::Parse(message.header));
  }
}
BENCHMARK(Parse)->Threads(1)->Threads(2);

// The part of the decision that is no policy: finding the author in the header, which signing needs anyway.
void ParseAndFindAuthor(benchmark::State& state) {
  const World& world = *TheWorld();
  std::size_t next = 0;
  for (auto _ : state) {
    const auto header = dkim::Header::Parse(world.messages[next++ % world.messages.size()].header);
    benchmark::DoNotOptimize(dkim::FindAuthor(*header));
  }
}
BENCHMARK(ParseAndFindAuthor);

// Every message of one partner: the counters that all threads share. Its bucket is one that nobody here empties, for
// what a refusal costs is another figure.
void TakeOfOnePartner(benchmark::State& state) {
  World& world = *TheWorld();
  snapshot::Partner partner = world.view.partners.at("partner0");
  partner.quota.rate_per_second = partner.quota.burst = 1'000'000'000;
  const auto now = std::chrono::system_clock::now();
  for (auto _ : state) {
    auto charge = world.quotas.Take(partner, 1, now);
    if (!charge) {
      state.SkipWithError(charge.error().message.c_str());
      break;
    }
    charge->Keep();
  }
}
BENCHMARK(TakeOfOnePartner)->Threads(1)->Threads(2);

}  // namespace
}  // namespace hallmark::bench

BENCHMARK_MAIN();
