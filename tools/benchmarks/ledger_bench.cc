// What the ledger costs on the way of a message: records made, appended in batches and made durable, by one thread
// beside the writer; and the sync of the disk alone. CPU is that of the whole process.
#include <benchmark/benchmark.h>

#include <atomic>
#include <semaphore>

#include "firmware/runtime/clock.h"
#include "sample.h"
#include "signerd/ledger/ledger.h"
#include "signerd/pipeline/records.h"

namespace hallmark::bench {
namespace {

constexpr std::string_view kHeader =
    "From: Joe SixPack <joe@example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: "
    "<20030712040037.46341.5F8J@football.example.com>\r\n\r\n";

// Batches that may be on their way, as the pipeline has several while the disk syncs.
constexpr int kOnTheirWay = 64;

struct World {
  World() {
    key.selector = "r20260131";
    key.public_key = test::FreshPublicKey();
    domain.name = "example.com";
    relay.name = "relay1";
    partner = test::PartnerForAll("own");
    origin.relay = &relay;
    origin.envelope = {"", "bounces@example.com", {"suzie@shopping.example.net"}};
    config.directory = folder.path() / "ledger";
    config.origin = "bench";
  }
  const test::TemporaryFolder folder;
  const SystemClock clock;
  snapshot::Key key;
  snapshot::Domain domain;
  snapshot::Relay relay;
  snapshot::Partner partner;
  pipeline::Origin origin;
  ledger::LedgerConfig config;
};

void Append(benchmark::State& state) {
  World world;
  const auto ledger = std::move(*ledger::Ledger::Open(world.config, world.clock));
  const auto recipients = *ledger::Recipients::Open(ledger::Recipients::Mode::kHashed, world.config.directory);
  pipeline::HashedMessage message{*dkim::Header::Parse(kHeader),
                                  {&world.partner, &world.domain, {"joe@example.com", "example.com"}, {}},
                                  dkim::Canonicalization::kRelaxed,
                                  {},
                                  std::nullopt};
  const dkim::Digest header_hash{};
  const auto batch = static_cast<std::size_t>(state.range(0));
  std::counting_semaphore<kOnTheirWay> places(kOnTheirWay);
  for (auto _ : state) {
    std::vector<std::string> records;
    for (std::size_t i = 0; i < batch; ++i) {
      for (std::string& record : pipeline::MakeRecords(world.origin, message, {{world.key, header_hash}}, 20'000,
                                                       recipients, ledger->now_us())) {
        records.push_back(std::move(record));
      }
    }
    places.acquire();
    ledger->Append(std::move(records), [&](const Result<std::uint64_t>& sequence) {
      if (!sequence) std::abort();
      places.release();
    });
  }
  for (int i = 0; i < kOnTheirWay; ++i) places.acquire();
  state.SetItemsProcessed(static_cast<std::int64_t>(batch * state.iterations()));
}
BENCHMARK(Append)->Arg(1)->Arg(16)->Arg(64)->MeasureProcessCPUTime()->UseRealTime();

// One sync of 64 records' octets, which each write of the ledger waits for.
void SyncAlone(benchmark::State& state) {
  const test::TemporaryFolder folder;
  const auto file = std::move(*ledger::OpenOnDisk(folder.path() / "file"));
  const std::string octets(64 * 400, 'x');
  std::uint64_t offset = 0;
  for (auto _ : state) {
    if (!file->WriteAt(offset, octets) || !file->Sync()) std::abort();
    offset += octets.size();
  }
}
BENCHMARK(SyncAlone)->UseRealTime();

}  // namespace
}  // namespace hallmark::bench

BENCHMARK_MAIN();
