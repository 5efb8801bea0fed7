#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "signerd/pipeline/observer.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::watch {

// What came in for one partner and signing domain since the last look.
struct Count {
  std::uint64_t signed_messages = 0, octets = 0;
  std::uint64_t refused = 0;           // for what the sender did
  std::vector<std::uint64_t> authors;  // hashes of author addresses: a sample of the signed messages
};

// By partner ("" where it is unknown) and signing domain ("" where it is unknown, as for most refusals).
using Tick = std::map<std::pair<std::string, std::string>, Count>;

// Counts answered messages until the watcher takes them, once a second. In bounded memory: what does not fit is dropped
// and counted. Any thread; a lock is held for one addition, and each thread mostly has one to itself.
class Traffic {
 public:
  static constexpr std::size_t kMostKeys = 16'384;  // partner and domain, between two looks
  static constexpr std::size_t kMostAuthors = 256;  // of one of them

  void Add(const pipeline::Answered& answered) noexcept;
  // What has come since the last call. One thread.
  Tick Take();
  std::uint64_t dropped() const { return dropped_.load(); }

 private:
  static constexpr std::size_t kShards = 16;
  using ByDomain = snapshot::NameMap<Count>;
  struct alignas(64) Shard {
    std::mutex mutex;  // guards what follows
    snapshot::NameMap<ByDomain> partners;
    std::size_t keys = 0;
  };
  std::array<Shard, kShards> shards_;
  std::atomic<std::uint64_t> dropped_{0};
};

// Whether a refusal says something about the sender, and not about this machine or the load.
bool IsSendersDoing(Reason reason);

// FNV-1a, since it is kept over restarts.
std::uint64_t HashAuthor(std::string_view address);

}  // namespace hallmark::watch
