#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "dkimctl_run.h"

namespace {

using testing::HasSubstr;

const std::string kVectors = HALLMARK_TESTS_DIR "/vectors/";
const std::string kKeys = kVectors + "zone.txt";

TEST(Verify, AcceptsTheExampleOfRfc8463) {
  const auto run = Dkimctl({"verify", kVectors + "signed/rfc8463-a3.eml", "--key-file", kKeys});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("ed25519-sha256"));
  EXPECT_THAT(run.out, HasSubstr("rsa-sha256"));
  EXPECT_LE(LongestLine(run.out), 80u) << run.out;
}

TEST(Verify, AcceptsTheExampleOfRfc6376) {
  const auto run = Dkimctl({"verify", kVectors + "signed/rfc6376-a2.eml", "--key-file", kKeys, "--output", "json"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("\"verdict\": \"pass\""));
}

TEST(Verify, ReadsStandardInput) {
  const auto run = DkimctlReading(ReadText(kVectors + "signed/rfc8463-a3.eml"), {"verify", "-", "--key-file", kKeys});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
}

TEST(Verify, TellsAChangedBody) {
  const TemporaryFolder folder;
  WriteText(folder / "changed.eml", ReadText(kVectors + "signed/rfc8463-a3.eml") + "One line more.\r\n");
  const auto run = Dkimctl({"verify", folder / "changed.eml", "--key-file", kKeys});
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.out, HasSubstr("fail"));
}

TEST(Verify, OneOfTwoIsNotEnough) {
  const TemporaryFolder folder;
  WriteText(folder / "keys", ReadText(kKeys).substr(0, ReadText(kKeys).find("test._domainkey")));
  const auto run = Dkimctl({"verify", kVectors + "signed/rfc8463-a3.eml", "--key-file", folder / "keys"});
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.out, HasSubstr("pass"));
  EXPECT_THAT(run.out, HasSubstr("permerror"));
}

TEST(Verify, NoSignatureIsNotVerified) {
  const auto run = Dkimctl({"verify", kVectors + "unsigned/rfc8463.eml", "--key-file", kKeys});
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.out, HasSubstr("no signature"));
}

TEST(Verify, WalksFolders) {
  const auto run = Dkimctl({"verify", kVectors + "signed", kVectors + "unsigned", "--key-file", kKeys});
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.out, HasSubstr("2 of 4 verified"));
  EXPECT_LE(LongestLine(run.out), 80u) << run.out;
}

TEST(Verify, ALinkThatLeadsNowhereIsNoMessage) {
  const TemporaryFolder folder;
  WriteText(folder / "signed.eml", ReadText(kVectors + "signed/rfc8463-a3.eml"));
  // The hidden one as Emacs locks a file.
  for (const char* name : {"gone.eml", ".#signed.eml"}) {
    std::filesystem::create_symlink("/nonexistent.eml", folder / name);
  }
  std::filesystem::create_symlink("itself.eml", folder / "itself.eml");
  std::filesystem::create_symlink("signed.eml", folder / "again.eml");
  const auto run = Dkimctl({"verify", folder.path(), "--key-file", kKeys});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("2 of 2 verified"));
}

TEST(Verify, SaysWhatCannotBeRead) {
  const auto missing = Dkimctl({"verify", "/nonexistent.eml", "--key-file", kKeys});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent.eml: no such file or folder"));
  const auto no_keys = Dkimctl({"verify", kVectors + "signed", "--key-file", "/nonexistent.txt"});
  EXPECT_EQ(no_keys.exit_code, 1);
  EXPECT_THAT(no_keys.err, HasSubstr("/nonexistent.txt"));
}

TEST(Verify, ANameserverThatDoesNotAnswerIsATemporaryError) {
  // Nothing listens on port 1.
  const auto run = Dkimctl({"verify", kVectors + "signed/rfc6376-a2.eml", "--nameserver", "127.0.0.1:1"});
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.out, HasSubstr("temperror"));
}

}  // namespace
