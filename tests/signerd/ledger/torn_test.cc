#include "signerd/ledger/torn.h"

#include <gtest/gtest.h>

#include <fstream>

#include "firmware/runtime/file.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "ledger/ledger_fixture.h"

namespace hallmark::ledger {
namespace {

class TornTest : public test::LedgerFixture {
 protected:
  std::string Content() const { return *ReadFile(OnlySegment()); }
  void Put(const std::string& content) const {
    std::ofstream(OnlySegment(), std::ios::binary | std::ios::trunc) << content;
  }
  // What the start says; empty where it succeeds.
  std::string Refusal() const {
    const auto ledger = Ledger::Open(config_, clock_);
    return ledger ? "" : ledger.error().message;
  }
  std::size_t TornCount() const { return CountTorn(config_.directory); }
};

// A record of `octets` without a zero, as records have no block of zeros.
std::string RecordOf(std::size_t octets, char with) { return std::string(octets, with); }

// One of a signature, as the ledger has them.
std::string SignatureOf(const std::string& body_hash) {
  v1::Record record;
  record.set_time_us(1'700'000'000'000'000);
  record.mutable_signature()->set_relay("mta");
  record.mutable_signature()->set_body_hash(body_hash);
  record.mutable_signature()->set_header_field(RecordOf(1500, 'h'));
  return record.SerializeAsString();
}

std::string FrameOf(const std::string& record) {
  std::string frame;
  AppendFrame(frame, record);
  return frame;
}

TEST_F(TornTest, ABitThatChangedInADurableRecordIsNoTornTail) {
  v1::Record record;
  record.set_time_us(1'700'000'000'000'000);
  {
    const auto ledger = Open();
    for (const std::string& body_hash : {FrameOf(RecordOf(24, 'A')), RecordOf(32, 'b'), RecordOf(32, 'c')}) {
      record.mutable_signature()->set_body_hash(body_hash);
      Append(*ledger, {record.SerializeAsString()}).value();
    }
  }
  const std::string whole = Content();
  const std::size_t begin = whole.size() - 3 * (record.ByteSizeLong() + kFrameOctets);
  for (std::size_t at = begin; at < whole.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ 1 << bit);
      Put(changed);
      ASSERT_NE(Refusal().find("no write that was cut short"), std::string::npos)
          << "octet " << at << ", bit " << bit << ": " << Refusal();
      ASSERT_EQ(Content(), changed) << "evidence was destroyed";
    }
  }
  EXPECT_EQ(TornCount(), 0u);
  Put(whole);
  EXPECT_EQ(Open()->durable().size, 3u);
}

TEST_F(TornTest, ABitThatChangedInTheHeaderTakesNoRecordsAway) {
  {
    const auto ledger = Open();
    Append(*ledger, {"answered"}).value();
  }
  const std::string whole = Content();
  for (std::size_t at = 0; at < whole.size() - kFrameOctets - 8; ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 4);
    Put(changed);
    ASSERT_NE(Refusal(), "") << "octet " << at;
    ASSERT_EQ(Content(), changed) << "evidence was destroyed";
  }
  EXPECT_EQ(TornCount(), 0u);
}

// The blocks of one write reach a disk in any order, and the power may fail between any two of them.
TEST_F(TornTest, BlocksOfOneWriteThatThePowerCutTookAreCutOffAndKept) {
  Append(*Open(), {"answered"}).value();
  const std::string before = Content();
  std::vector<std::string> batch;
  for (int i = 0; i < 40; ++i) batch.push_back(RecordOf(300, 'x'));
  Append(*Open(), batch).value();
  const std::string whole = Content();
  std::size_t kept = 0;
  for (std::size_t block = before.size() / 512; block <= whole.size() / 512; ++block) {
    const std::size_t from = std::max(block * 512, before.size()), to = std::min(block * 512 + 512, whole.size());
    std::string torn = whole;
    torn.replace(from, to - from, to - from, '\0');
    Put(torn);
    const auto ledger = Open();
    ASSERT_NE(ledger, nullptr) << "block " << block;
    const std::uint64_t left = ledger->durable().size;
    ASSERT_EQ(left, 1 + (from - before.size()) / (300 + kFrameOctets)) << "block " << block;
    const auto path = OnlySegment().string() + ".torn" + (++kept == 1 ? "" : "." + std::to_string(kept));
    ASSERT_EQ(*ReadFile(path), torn.substr(before.size() + (left - 1) * (300 + kFrameOctets)));
    ASSERT_EQ(Content(), torn.substr(0, before.size() + (left - 1) * (300 + kFrameOctets)));
  }
  EXPECT_GT(kept, 20u);
  EXPECT_EQ(TornCount(), kept);
}

// A relay chooses a record's body_hash, and may make a frame of it.
TEST_F(TornTest, AFrameThatIsPartOfARecordMakesNoDamageOfAPowerCut) {
  Append(*Open(), {"answered"}).value();
  const std::string before = Content();
  for (const std::string& planted : {FrameOf(RecordOf(24, 'A')), FrameOf(SignatureOf("of a record that is none"))}) {
    Append(*Open(), {SignatureOf(planted), SignatureOf("another of the same write")}).value();
    const std::string whole = Content();
    const std::size_t behind = whole.find(planted) + planted.size();
    for (std::size_t cut = behind; cut < before.size() + planted.size() + 1500; cut += 29) {
      Put(whole.substr(0, cut));
      ASSERT_EQ(Refusal(), "") << "cut off at " << cut;
      ASSERT_EQ(Content(), before);
    }
    std::string torn = whole;  // without the first block that is all behind the frame
    torn.replace((behind / 512 + 1) * 512, 512, 512, '\0');
    Put(torn);
    ASSERT_EQ(Refusal(), "");
    ASSERT_EQ(Content(), before);
  }
}

TEST_F(TornTest, MoreThanOneWriteIsNoTornTail) {
  {
    const auto ledger = Open();
    const std::vector<std::string> batch(3, RecordOf(kMaxRecordOctets - 100, 'x'));
    for (int i = 0; i < 2; ++i) Append(*ledger, batch).value();
  }
  std::string torn = Content();
  torn.replace(4096, 4096, 4096, '\0');
  Put(torn);
  EXPECT_NE(Refusal().find("more than one write has"), std::string::npos) << Refusal();
  EXPECT_EQ(Content(), torn);
}

TEST_F(TornTest, WhatWasPutAsideBeforeIsNotWrittenOver) {
  Append(*Open(), {"a"}).value();
  const auto begun = SegmentPath(config_.directory, 1);
  for (const char* content : {"HMLE", "HMLEDG"}) {
    std::ofstream(begun, std::ios::binary) << content;
    EXPECT_EQ(Open()->durable().size, 1u);
  }
  EXPECT_EQ(*ReadFile(begun.string() + ".torn"), "HMLE");
  EXPECT_EQ(*ReadFile(begun.string() + ".torn.2"), "HMLEDG");
}

}  // namespace
}  // namespace hallmark::ledger
