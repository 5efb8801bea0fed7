// What the ledger costs on the way of a message: records made, appended in batches and made durable, by one thread
// beside the writer; and the sync of the disk alone. CPU is that of the whole process.
#include <benchmark/benchmark.h>

#include <atomic>
#include <semaphore>

#include "firmware/runtime/clock.h"
#include "sample.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/merkle.h"
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

// A ledger of so many records, of 1,000 domains and 100 partners, as quickly as it can be made.
void Fill(const ledger::LedgerConfig& config, const Clock& clock, std::uint64_t count) {
  const auto ledger = std::move(*ledger::Ledger::Open(config, clock));
  std::counting_semaphore<kOnTheirWay> places(kOnTheirWay);
  ledger::v1::Record record;
  auto& signature = *record.mutable_signature();
  signature.set_relay("relay1");
  signature.set_selector("r20260131");
  signature.set_algorithm("rsa-sha256");
  signature.set_recipient_count(1);
  signature.set_body_hash(std::string(32, 'b'));
  signature.set_header_hash(std::string(32, 'h'));
  signature.set_octets(20'000);
  signature.set_count(1);
  for (std::uint64_t made = 0; made < count;) {
    std::vector<std::string> records;
    for (; records.size() < 4096 && made < count; ++made) {
      const std::string number = std::to_string(made);
      record.set_time_us(ledger->now_us());
      signature.set_partner("partner" + std::to_string(made % 100));
      signature.set_signing_domain("domain" + std::to_string(made * 7 % 1000) + ".example");
      signature.set_author_domain(signature.signing_domain());
      signature.set_message_id("<20030712040037." + number + ".5F8J@football.example.com>");
      signature.set_from("author" + std::to_string(made * 13 % 5000) + "@" + signature.signing_domain());
      signature.set_envelope_sender("bounces@" + signature.signing_domain());
      signature.clear_recipient_hashes();
      const ledger::Hash hash = ledger::LeafHash(AsBytes(number));
      signature.add_recipient_hashes(hash.data(), hash.size());
      records.push_back(record.SerializeAsString());
    }
    places.acquire();
    ledger->Append(std::move(records), [&](const Result<std::uint64_t>& sequence) {
      if (!sequence) std::abort();
      places.release();
    });
  }
  for (int i = 0; i < kOnTheirWay; ++i) places.acquire();
}

// What is derived, made anew: the search index and the tree's hashes.
void Index(benchmark::State& state) {
  World world;
  const auto count = static_cast<std::uint64_t>(state.range(0));
  Fill(world.config, world.clock, count);
  for (auto _ : state) {
    const auto indexer = ledger::Indexer::Start(world.config.directory, [&] { return count; });
    if (!indexer->WaitFor(count, std::chrono::hours(1))) std::abort();
    indexer->Rebuild();
    if (!indexer->WaitFor(count, std::chrono::hours(1))) std::abort();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(2 * count * state.iterations()));
}
BENCHMARK(Index)->Arg(500'000)->Iterations(1)->Repetitions(1)->MeasureProcessCPUTime()->UseRealTime();

// From nothing to a ledger that can be written, searched and proved from.
void StartUp(benchmark::State& state) {
  World world;
  const auto count = static_cast<std::uint64_t>(state.range(0));
  Fill(world.config, world.clock, count);
  const auto start = [&] {
    const auto ledger = std::move(*ledger::Ledger::Open(world.config, world.clock));
    const auto indexer = ledger::Indexer::Start(world.config.directory, [&] { return ledger->durable().size; });
    if (!indexer->WaitFor(count, std::chrono::hours(1))) std::abort();
  };
  start();  // the first makes the index
  for (auto _ : state) start();
}
BENCHMARK(StartUp)
    ->Arg(500'000)
    ->Arg(5'000'000)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3)
    ->Repetitions(1)
    ->UseRealTime();

}  // namespace
}  // namespace hallmark::bench

BENCHMARK_MAIN();
