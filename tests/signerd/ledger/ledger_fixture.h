#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ledger/soft_signer.h"
#include "ledger/unsafe_disk.h"
#include "sample.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/segment.h"

namespace hallmark::ledger::test {

// A ledger in a folder of its own, on a disk that can fail.
class LedgerFixture : public testing::Test {
 protected:
  LedgerFixture() {
    config_.directory = folder_.path() / "ledger";
    config_.origin = "hallmark/test";
    config_.open = disk_.opener();
    config_.checkpoint_interval = std::chrono::seconds(1);
  }

  std::unique_ptr<Ledger> Open() {
    auto ledger = Ledger::Open(config_, clock_);
    EXPECT_TRUE(ledger) << ledger.error().message;
    return ledger ? std::move(*ledger) : nullptr;
  }
  static Result<std::uint64_t> Append(Ledger& ledger, std::vector<std::string> records) {
    std::promise<Result<std::uint64_t>> promise;
    auto answer = promise.get_future();
    ledger.Append(std::move(records), [&](Result<std::uint64_t> sequence) { promise.set_value(std::move(sequence)); });
    return answer.get();
  }
  // All records as they stand in the segments, which must be whole.
  std::vector<std::string> Records() const {
    std::vector<std::string> records;
    const auto segments = ListSegments(config_.directory);
    EXPECT_TRUE(segments);
    for (const SegmentFile& file : *segments) {
      auto reader = SegmentReader::Open(file.path);
      EXPECT_TRUE(reader) << reader.error().message;
      EXPECT_EQ(reader->header().first, records.size());
      while (true) {
        const auto record = reader->Next();
        EXPECT_TRUE(record) << record.error().message;
        if (!record || !*record) break;
        records.emplace_back(**record);
      }
    }
    return records;
  }
  static Hash RootOf(const std::vector<std::string>& records) {
    CompactTree tree;
    for (const std::string& record : records) tree.Append(LeafHash(AsBytes(record)));
    return tree.Root();
  }
  std::filesystem::path OnlySegment() const { return SegmentPath(config_.directory, 0); }
  // Waits, as long as a slow machine needs.
  template <class Condition>
  static bool WaitFor(const Condition& condition) {
    for (int i = 0; i < 3000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return condition();
  }
  // Waits until the newest checkpoint is of `size` records.
  static bool WaitForCheckpoint(const Ledger& ledger, std::uint64_t size) {
    return WaitFor([&] {
      const auto note = ledger.latest_checkpoint();
      return note && ParseCheckpoint(*note)->size == size;
    });
  }

  hallmark::test::TemporaryFolder folder_;
  UnsafeDisk disk_;
  const SystemClock clock_;
  LedgerConfig config_;
};

}  // namespace hallmark::ledger::test
