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

}  // namespace
}  // namespace hallmark::ledger
