#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fake_signerd.h"

namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kMessage = "From: a@example.com\r\nSubject: x\r\n\r\nHello\r\n";

class SignTest : public testing::Test {
 protected:
  hallmark::ProgramResult Run(std::vector<std::string> words) {
    words.insert(words.begin(), "sign");
    words.insert(words.end(), {"--dir", signerd_.directory()});
    return Dkimctl(words);
  }
  std::string Write(const std::string& name, const std::string& text) {
    WriteText(folder_ / name, text);
    return folder_ / name;
  }
  FakeSigning signing_;
  FakeSignerd signerd_{nullptr, &signing_};
  TemporaryFolder folder_;
};

TEST_F(SignTest, PrependsTheFieldInEveryMode) {
  const std::string file = Write("m.eml", kMessage);
  for (const char* mode : {"sign", "stream", "large", "digest"}) {
    const auto run = Run({file, "--mode", mode});
    EXPECT_EQ(run.exit_code, 0) << mode << run.err;
    EXPECT_EQ(run.out, signing_.field + kMessage) << mode;
    EXPECT_EQ(run.err, "");
  }
}

TEST_F(SignTest, WritesWireForm) {
  signing_.field = "DKIM-Signature: v=1;\n b=AA==\n";  // as signerd answers a message with bare LF
  const auto run = Run({Write("m.eml", "From: a@example.com\n\n.dot\nend")});
  EXPECT_EQ(run.out, "DKIM-Signature: v=1;\r\n b=AA==\r\nFrom: a@example.com\r\n\r\n.dot\r\nend\r\n");
  EXPECT_THAT(signing_.seen().messages, ElementsAre("From: a@example.com\n\n.dot\nend"));  // signerd sees what is there
}

TEST_F(SignTest, ReadsStandardInput) {
  const auto run = DkimctlReading(kMessage, {"sign", "-", "--dir", signerd_.directory()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, signing_.field + kMessage);
}

TEST_F(SignTest, SendsWhatTheOptionsSay) {
  const auto run = Run({Write("m.eml", kMessage), "--domain", "example.com", "--partner", "acme", "--sender",
                        "b@example.com", "--recipient", "c@example.com", "--recipient", "d@example.com"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const auto options = signing_.seen().options.at(0);
  EXPECT_EQ(options.signing_domain(), "example.com");
  EXPECT_EQ(options.partner(), "acme");
  EXPECT_EQ(options.envelope_sender(), "b@example.com");
  EXPECT_THAT(options.envelope_recipients(), ElementsAre("c@example.com", "d@example.com"));
}

TEST_F(SignTest, CutsChunksAsAsked) {
  ASSERT_EQ(Run({Write("m.eml", kMessage), "--mode", "large", "--chunk", "7"}).exit_code, 0);
  const auto seen = signing_.seen();
  EXPECT_EQ(seen.large_octets, kMessage.size());
  EXPECT_EQ(seen.chunks.size(), (kMessage.size() + 6) / 7);
  EXPECT_EQ(seen.options.size(), 1u);
}

TEST_F(SignTest, EmptyMessageStillReachesSignerd) {
  EXPECT_EQ(Run({Write("m.eml", ""), "--mode", "large"}).exit_code, 0);
  EXPECT_EQ(signing_.seen().options.size(), 1u);
}

TEST_F(SignTest, LargeMessagesGoInChunksByThemselves) {
  const std::string file = Write("m.eml", kMessage + std::string((32u << 20), 'x') + "\r\n");
  for (const char* mode : {"sign", "stream"}) {
    ASSERT_EQ(Run({file, "--mode", mode, "--out", folder_ / mode}).exit_code, 0);
    EXPECT_EQ(std::filesystem::file_size(folder_ / mode + "/m.eml"),
              std::filesystem::file_size(file) + signing_.field.size());
  }
  const auto seen = signing_.seen();
  EXPECT_TRUE(seen.messages.empty());
  EXPECT_EQ(seen.large_octets, 2 * std::filesystem::file_size(file));
  EXPECT_THAT(seen.chunks, Each(testing::Le(65536u)));
  // Some signerd takes no more in one request, and would end the stream.
  const std::string smaller = Write("n.eml", kMessage + std::string(1u << 20, 'x') + "\r\n");
  ASSERT_EQ(Run({smaller, "--mode", "stream", "--header-only"}).exit_code, 0);
  EXPECT_TRUE(signing_.seen().messages.empty());
  ASSERT_EQ(Run({smaller, "--header-only"}).exit_code, 0);
  EXPECT_EQ(signing_.seen().messages.size(), 1u);
}

TEST_F(SignTest, DigestHashesTheBodyHere) {
  const std::string file = Write("m.eml", "From: a@example.com\r\n\r\n");
  ASSERT_EQ(Run({file, "--mode", "digest", "--chunk", "1"}).exit_code, 0);
  ASSERT_EQ(Run({file, "--mode", "digest", "--body-canonicalization", "simple"}).exit_code, 0);
  const auto digests = signing_.seen().digests;
  ASSERT_EQ(digests.size(), 2u);
  EXPECT_EQ(digests[0].header(), "From: a@example.com\r\n\r\n");
  // The hashes of an empty body: of nothing in relaxed form, of one CRLF in simple form.
  EXPECT_THAT(digests[0].body_hash(), testing::StartsWith("\xe3\xb0\xc4\x42"));
  EXPECT_EQ(digests[0].body_length(), 0u);
  EXPECT_THAT(digests[1].body_hash(), testing::StartsWith("\x7e\xb7\x02\x57"));
  EXPECT_EQ(digests[1].body_length(), 2u);
  EXPECT_EQ(digests[1].body_canonicalization(), hallmark::signing::v1::CANONICALIZATION_SIMPLE);
}

TEST_F(SignTest, DigestTellsWhatItSawOfTheBody) {
  const std::string file = Write("m.eml", "From: a@example.com\r\n\r\none  \ntwo\rthree\r\n\r\n\r\nfour");
  ASSERT_EQ(Run({file, "--mode", "digest", "--chunk", "1"}).exit_code, 0);
  const auto digests = signing_.seen().digests;
  ASSERT_EQ(digests.size(), 1u);
  const auto& facts = digests[0].body_facts();
  EXPECT_EQ(facts.octets(), 25u);
  EXPECT_EQ(facts.bare_lf(), 1u);
  EXPECT_EQ(facts.bare_cr(), 1u);
  EXPECT_EQ(facts.longest_line(), 5u);
  EXPECT_TRUE(facts.ends_without_crlf());
}

TEST_F(SignTest, DigestNamesAHeaderThatIsTooLarge) {
  const auto run = Run({Write("m.eml", "From: " + std::string(3u << 20, 'x')), "--mode", "digest"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("HEADER_TOO_LARGE"));
}

TEST_F(SignTest, ManyMessagesKeepTheirNamesAndTheLimit) {
  for (int i = 0; i < 40; ++i)
    Write("in/sub" + std::to_string(i % 3) + "/" + std::to_string(i) + ".eml", kMessage + std::to_string(i));
  Write("in/.hidden", "not mail");
  signing_.together = 4;
  const auto run = Run({folder_ / "in", "--out", folder_ / "out", "--concurrency", "4"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("signed 40 messages"));
  for (int i = 0; i < 40; ++i) {
    const std::string name = "out/sub" + std::to_string(i % 3) + "/" + std::to_string(i) + ".eml";
    EXPECT_EQ(ReadText(folder_ / name), signing_.field + kMessage + std::to_string(i) + "\r\n");
  }
  EXPECT_EQ(signing_.most_at_once(), 4);
  EXPECT_EQ(signing_.seen().messages.size(), 40u);
}

// script(1) gives it a terminal.
TEST_F(SignTest, OnATerminalABarShowsHowFarItIs) {
  signing_.refuse = [](const std::string& message) {
    return message.ends_with("7") ? Refusal(grpc::INVALID_ARGUMENT, "FROM_MISSING", "no From") : grpc::Status::OK;
  };
  for (int i = 0; i < 8; ++i) Write("in/" + std::to_string(i) + ".eml", kMessage + std::to_string(i));
  const auto run = DkimctlBy("script -qec \"$*\" /dev/null",
                             {"sign", folder_ / "in", "--out", folder_ / "out", "--dir", signerd_.directory()});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(run.out, HasSubstr("\r[" + std::string(40, '#') + "] 8/8, 1 failed\x1b[K\r\x1b[K"));
  EXPECT_THAT(run.out, HasSubstr("signed 7 messages"));
  // And of one message there is none.
  const auto one = DkimctlBy("script -qec \"$*\" /dev/null",
                             {"sign", folder_ / "in/1.eml", "--out", folder_ / "out", "--dir", signerd_.directory()});
  EXPECT_EQ(one.exit_code, 0) << one.out;
  EXPECT_THAT(one.out, Not(HasSubstr("[K")));
}

TEST_F(SignTest, StreamMatchesAnswersToMessages) {
  signing_.refuse = [](const std::string& message) {
    return message.ends_with("7") ? Refusal(grpc::INVALID_ARGUMENT, "FROM_MISSING", "no From") : grpc::Status::OK;
  };
  for (int i = 0; i < 20; ++i) Write("in/" + std::to_string(i) + ".eml", kMessage + std::to_string(i));
  const auto run = Run({folder_ / "in", "--out", folder_ / "out", "--mode", "stream"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("signed 18 messages"));
  EXPECT_THAT(run.err, HasSubstr("7.eml: FROM_MISSING: no From"));
  EXPECT_THAT(run.err, HasSubstr("17.eml: FROM_MISSING: no From"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/7.eml"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/8.eml"));
}

TEST_F(SignTest, UnavailableEndsWithThreeUnlessMoreIsWrong) {
  signing_.refuse = [](const std::string& message) {
    return message.ends_with("bad") ? Refusal(grpc::INVALID_ARGUMENT, "FROM_MISSING", "no From")
                                    : Refusal(grpc::UNAVAILABLE, "TOKEN_DOWN", "the token is down");
  };
  const std::string one = Write("one.eml", kMessage), bad = Write("bad.eml", kMessage + "bad");
  EXPECT_EQ(Run({one}).exit_code, 3);
  EXPECT_EQ(Run({one, bad, "--out", folder_ / "out"}).exit_code, 1);
}

TEST_F(SignTest, SaysWhereManyMessagesShouldGo) {
  const std::string one = Write("one.eml", kMessage), two = Write("two.eml", kMessage);
  const auto nowhere = Run({one, two});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("--out DIR"));
  const auto clash = Run({one, Write("other/one.eml", kMessage), "--out", folder_ / "out"});
  EXPECT_EQ(clash.exit_code, 2);
  EXPECT_THAT(clash.err, HasSubstr("would both become one.eml"));
  EXPECT_TRUE(signing_.seen().messages.empty());
}

TEST_F(SignTest, HeaderOnlyAndJson) {
  const std::string file = Write("m.eml", kMessage);
  EXPECT_EQ(Run({file, "--header-only"}).out, signing_.field);
  const auto json = Run({file, "--output", "json"});
  EXPECT_THAT(json.out, HasSubstr("\"selector\": \"s1\""));
  EXPECT_THAT(json.out, HasSubstr("\"signed\": 1"));
  const auto missing = Run({folder_ / "none.eml", "--output", "json"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("no such file"));
}

TEST_F(SignTest, SignedMailIsForWhomTheUmaskSays) {
  const std::string file = Write("m.eml", kMessage);
  for (const auto& [mask, mode] : {std::pair("077", 0600u), std::pair("027", 0640u), std::pair("022", 0644u)}) {
    const std::string out = folder_ / mask;
    const auto run = DkimctlBy(std::string("umask ") + mask + "; \"$@\"",
                               {"sign", file, "--out", out, "--dir", signerd_.directory()});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    struct stat facts {};
    ASSERT_EQ(::stat((out + "/m.eml").c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, mode) << mask;
  }
}

TEST_F(SignTest, AnOriginalIsNotReplaced) {
  const std::string file = Write("in/m.eml", kMessage), other = Write("in/sub/m.eml", kMessage + "other");
  std::filesystem::create_directory(folder_ / "linked");
  std::filesystem::create_hard_link(file, folder_ / "linked/m.eml");
  std::filesystem::create_directory_symlink(folder_ / "in", folder_ / "alias");
  for (const auto& [from, to] : {std::pair(folder_ / "in", folder_ / "in"), std::pair(file, folder_ / "in"),
                                 std::pair(file, folder_ / "alias"), std::pair(file, folder_ / "linked")}) {
    const auto run = Run({from, "--out", to});
    EXPECT_EQ(run.exit_code, 2) << from << " " << to;
    EXPECT_THAT(run.err, HasSubstr("would take the place of " + folder_.path().string() + "/in/m.eml"));
  }
  // Nor that of another one of this run.
  const std::string third = Write("other/sub/n.eml", kMessage);
  Write("one/sub/n.eml", kMessage);
  const auto run = Run({folder_ / "one", third, "--out", folder_ / "other"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("would take the place of " + third));
  EXPECT_TRUE(signing_.seen().messages.empty());
  EXPECT_EQ(ReadText(file), kMessage);
  EXPECT_EQ(ReadText(other), kMessage + "other");
  // What is there and is none of them is replaced: the same command may be run again.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Run({folder_ / "in", "--out", folder_ / "out"}).exit_code, 0);
}

TEST_F(SignTest, NoOperatorSigns) {
  const std::string file = Write("m.eml", kMessage);
  EXPECT_EQ(Run({file, "--as", "officer2"}).exit_code, 2);
  const auto run = Dkimctl({"--as", "officer2", "sign", file, "--dir", signerd_.directory()});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("a relay signs"));
  EXPECT_TRUE(signing_.seen().messages.empty());
}

TEST_F(SignTest, AStreamThatIsNotReadEndsAtTheTimeout) {
  signing_.deaf = true;
  const std::string file = Write("m.eml", kMessage + std::string(1'000'000, 'x') + "\r\n");
  const auto run = Run({file, "--mode", "stream", "--timeout", "1", "--header-only"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("did not answer in time"));
}

TEST_F(SignTest, AFolderThatCannotBeMadeIsNamed) {
  const auto run = Run({Write("m.eml", kMessage), "--out", "/proc/nothing"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("/proc/nothing"));
}

}  // namespace
