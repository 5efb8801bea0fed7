#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "hallmark/ledger/v1/record.pb.h"
#include "naive_tree.h"
#include "signerd/ledger/segment.h"

namespace hallmark::test {

// Writes a ledger's segments in the simplest way, and remembers its leaves and records.
class SegmentWriter {
 public:
  explicit SegmentWriter(std::filesystem::path directory) : directory_(std::move(directory)) {
    std::filesystem::create_directories(directory_ / "segments");
    Rotate();
  }

  void Rotate() {
    const ledger::SegmentHeader header{tree_.size(), tree_.nodes(), 1'700'000'000'000'000};
    path_ = ledger::SegmentPath(directory_, tree_.size());
    Write(ledger::EncodeSegmentStart(header));
    firsts_.push_back(tree_.size());
  }

  void Append(const ledger::v1::Record& record) { Append(std::vector<ledger::v1::Record>{record}); }
  void Append(const std::vector<ledger::v1::Record>& batch) {
    std::string frames;
    for (const auto& record : batch) {
      const std::string octets = record.SerializeAsString();
      ledger::AppendFrame(frames, octets);
      leaves_.push_back(ledger::LeafHash(AsBytes(octets)));
      tree_.Append(leaves_.back());
      records_.push_back(record);
    }
    Write(frames);
  }

  // Replaces the segment number `i` by what retention keeps of one.
  void Prune(std::size_t i) {
    const std::uint64_t first = firsts_[i], count = firsts_[i + 1] - first;
    const auto reader = ledger::SegmentReader::Open(ledger::SegmentPath(directory_, first));
    ledger::PrunedSegment pruned{reader->header(), count, {}, ""};
    std::uint64_t at = first;
    for (const unsigned level : ledger::SubtreeLevels(first, count)) {
      const std::uint64_t leaves = std::uint64_t{1} << level;
      pruned.nodes.push_back(ledger::naive::Root(std::span(leaves_).subspan(at, leaves)));
      at += leaves;
    }
    std::ofstream(ledger::SegmentPath(directory_, first, true), std::ios::binary) << ledger::EncodePruned(pruned);
    std::filesystem::remove(ledger::SegmentPath(directory_, first));
  }

  std::uint64_t size() const { return leaves_.size(); }
  const std::vector<ledger::Hash>& leaves() const { return leaves_; }
  const std::vector<ledger::v1::Record>& records() const { return records_; }

 private:
  void Write(const std::string& octets) const { std::ofstream(path_, std::ios::binary | std::ios::app) << octets; }
  const std::filesystem::path directory_;
  std::filesystem::path path_;
  ledger::CompactTree tree_;
  std::vector<std::uint64_t> firsts_;
  std::vector<ledger::Hash> leaves_;
  std::vector<ledger::v1::Record> records_;
};

}  // namespace hallmark::test
