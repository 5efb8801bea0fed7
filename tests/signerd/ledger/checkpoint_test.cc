#include "signerd/ledger/checkpoint.h"

#include <gtest/gtest.h>

#include <fstream>

#include "sample.h"
#include "signerd/ledger/checkpoint_file.h"

namespace hallmark::ledger {
namespace {

// The example of the signed-note format's first implementation.
TEST(Checkpoint, KnowsTheFormOfSignedNotes) {
  const auto key = VerifierKey::Parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_EQ(key->name, "PeterNeumann");
  EXPECT_EQ(key->Text(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}

TEST(Checkpoint, SaysWhatIsWrong) {
  const VerifierKey key{"log", {}};
  const std::string root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  for (const std::string& note : std::vector<std::string>{
           "", std::string("log\n1\n") + root + "\n", "other\n1\n" + root + "\n\n\u2014 log AAAA\n",
           "log\n01\n" + root + "\n\n\u2014 log AAAA\n", "log\n1\nAAAA\n\n\u2014 log AAAA\n",
           "log\n1\n" + root + "\n\n\u2014 log AAAA\n"}) {
    const auto opened = OpenCheckpoint(note, key);
    ASSERT_FALSE(opened) << note;
    EXPECT_EQ(opened.error().reason, Reason::kInvalidArgument);
  }
}

TEST(Checkpoint, AFileGivesItsWholeNotes) {
  const VerifierKey key{"log", {}};
  const std::string note = SignedNote(CheckpointBody("log", {7, EmptyRoot()}), key, Bytes(64));
  EXPECT_EQ(SplitCheckpoints(note + "\n" + note + "\n" + note.substr(0, 20)), (std::vector<std::string>{note, note}));
  EXPECT_EQ(ParseCheckpoint(note)->size, 7u);
}

TEST(Checkpoint, AFileIsReadInPiecesAndFromItsEndAsItIsAsAWhole) {
  const hallmark::test::TemporaryFolder folder;
  const auto file = folder.path() / "checkpoints";
  EXPECT_EQ(NewestCheckpoint(file)->end, 0u);
  EXPECT_FALSE(*CheckpointReader::Open(file)->Next());
  const VerifierKey key{"log", {}};
  std::string content;
  std::size_t last = 0;  // octets before the last two
  for (std::uint64_t size = 1; content.size() < 300'000; ++size) {
    std::string note = SignedNote(CheckpointBody("log", {size, EmptyRoot()}), key, Bytes(64));
    if (size % 2 == 0) note += std::string(kSignatureLine) + "other AAAA\n";  // a second one
    content += note + "\n";
    if (content.size() < 299'500) last = content.size();
  }
  const auto read = [&] {
    std::vector<std::string> notes;
    auto reader = *CheckpointReader::Open(file);
    for (auto note = reader.Next(); note && *note; note = reader.Next()) notes.emplace_back(**note);
    return notes;
  };
  for (std::size_t cut = last; cut <= content.size(); ++cut) {
    std::ofstream(file, std::ios::binary) << content.substr(0, cut);
    const auto whole = SplitCheckpoints(std::string_view(content).substr(0, cut));
    const auto newest = NewestCheckpoint(file);
    ASSERT_TRUE(newest) << cut << ": " << newest.error().message;
    ASSERT_EQ(newest->note, whole.back()) << cut;
    ASSERT_EQ(newest->head.size, whole.size()) << cut;
    ASSERT_EQ(content.substr(newest->end - whole.back().size() - 1, whole.back().size()), whole.back());
    if (cut % 97 != 0 && cut != content.size()) continue;
    ASSERT_EQ(read(), whole) << cut;
  }
  // Of the beginning, where there is no note before.
  for (std::size_t cut = 0; cut < 600; ++cut) {
    std::ofstream(file, std::ios::binary) << content.substr(0, cut);
    const auto whole = SplitCheckpoints(std::string_view(content).substr(0, cut));
    const auto newest = NewestCheckpoint(file);
    ASSERT_TRUE(newest) << cut;
    ASSERT_EQ(newest->note, whole.empty() ? "" : whole.back()) << cut;
    ASSERT_EQ(read(), whole) << cut;
  }
  std::ofstream(file, std::ios::binary) << std::string(300'000, 'x');
  EXPECT_EQ(NewestCheckpoint(file).error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(CheckpointReader::Open(file)->Next().error().reason, Reason::kInvalidArgument);
}

// Of three notes, the last of which was being written when the power failed: some of its blocks are there, in any
// order.
TEST(Checkpoint, OfANoteWithAHoleTheOneBeforeIsTheNewest) {
  constexpr std::size_t kBlock = 512;
  const hallmark::test::TemporaryFolder folder;
  const auto file = folder.path() / "checkpoints";
  const VerifierKey key{std::string(255, 'o'), {}};  // a long name, so that a note has parts of three blocks
  for (std::size_t before = 0; before < kBlock; before += 17) {
    std::string content = SignedNote(CheckpointBody(std::string(1 + before / 2, 'a'), {1, EmptyRoot()}),
                                     {std::string(1 + before - before / 2, 'a'), {}}, Bytes(64)) +
                          "\n";
    const std::string second = SignedNote(CheckpointBody(key.name, {2, EmptyRoot()}), key, Bytes(64));
    content += second + "\n";
    const std::size_t end = content.size();
    content += SignedNote(CheckpointBody(key.name, {3, EmptyRoot()}), key, Bytes(64)) + "\n";
    std::vector<std::pair<std::size_t, std::size_t>> parts;  // of blocks: where, and how many octets
    for (std::size_t at = end; at < content.size(); at += parts.back().second) {
      parts.emplace_back(at, std::min(kBlock - at % kBlock, content.size() - at));
    }
    for (std::size_t missing = 0; missing < std::size_t{1} << parts.size(); ++missing) {
      std::string torn = content;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if ((missing >> i & 1) != 0) torn.replace(parts[i].first, parts[i].second, parts[i].second, '\0');
      }
      std::ofstream(file, std::ios::binary) << torn;
      const auto newest = NewestCheckpoint(file);
      ASSERT_TRUE(newest) << before << " " << missing << ": " << newest.error().message;
      EXPECT_EQ(newest->head.size, missing == 0 ? 3u : 2u) << before << " " << missing;
      EXPECT_EQ(newest->end, missing == 0 ? content.size() : end) << before << " " << missing;
      auto reader = *CheckpointReader::Open(file);
      std::size_t notes = 0;
      for (auto note = reader.Next(); note && *note; note = reader.Next()) ++notes;
      EXPECT_EQ(notes, missing == 0 ? 3u : 2u) << before << " " << missing;
    }
  }
}

TEST(Checkpoint, OnlyTheLastNoteCanHaveAHole) {
  const hallmark::test::TemporaryFolder folder;
  const auto file = folder.path() / "checkpoints";
  const auto note = [](std::uint64_t size, bool hole, char root = 'A') {
    std::string text = SignedNote(CheckpointBody("log", {size, EmptyRoot()}), {"log", {}}, Bytes(64)) + "\n";
    text[10] = hole ? '\0' : root;
    return text;
  };
  const auto write = [&](const std::string& content) { std::ofstream(file, std::ios::binary) << content; };
  write(note(1, true));
  EXPECT_EQ(NewestCheckpoint(file)->end, 0u);
  EXPECT_FALSE(*CheckpointReader::Open(file)->Next());
  write(note(1, true) + note(2, true));
  EXPECT_EQ(NewestCheckpoint(file).error().reason, Reason::kInvalidArgument);
  write(note(1, true) + note(2, false));
  EXPECT_EQ(NewestCheckpoint(file)->head.size, 2u);
  EXPECT_FALSE(ParseCheckpoint(**CheckpointReader::Open(file)->Next())) << "whoever reads all of them is given it";
  write(note(1, false) + note(2, false, '!'));
  EXPECT_EQ(NewestCheckpoint(file).error().reason, Reason::kInvalidArgument);
}

}  // namespace
}  // namespace hallmark::ledger
