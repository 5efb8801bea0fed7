#include "signerd/backup/envelope.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "firmware/runtime/file.h"
#include "sample.h"

namespace hallmark::backup {
namespace {

class EnvelopeTest : public testing::Test {
 protected:
  // A key pair of an officer, as openssl makes it: NAME.key, NAME.pem.
  std::filesystem::path Make(const std::string& name, const std::string& kind) {
    const std::string at = (folder_.path() / name).string();
    const std::string command = "openssl req -x509 -nodes -days 3 -subj /CN=" + name + " -newkey " + kind +
                                " -keyout " + at + ".key -out " + at + ".pem 2>/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return at + ".pem";
  }
  std::filesystem::path Key(const std::string& name) const { return folder_.path() / (name + ".key"); }

  static std::string Noise(std::size_t octets) {
    std::mt19937_64 random(octets);
    std::string noise(octets, '\0');
    for (char& octet : noise) octet = static_cast<char>(random());
    return noise;
  }
  void Seal(const std::vector<std::filesystem::path>& recipients, std::string_view content) {
    std::ofstream file(file_, std::ios::binary);
    auto sealer = Sealer::Begin(recipients, [&](std::string_view octets) {
      largest_ = std::max(largest_, octets.size());
      file << octets;
      return Ok();
    });
    ASSERT_TRUE(sealer) << sealer.error().message;
    for (; !content.empty(); content.remove_prefix(std::min<std::size_t>(content.size(), 99'999))) {
      ASSERT_TRUE(sealer->Write(content.substr(0, 99'999)));
    }
    ASSERT_TRUE(sealer->Finish());
  }
  Result<std::string> Open(const std::string& name) {
    std::string content;
    const Status done = Unseal(file_, Key(name), [&](std::string_view octets) {
      content += octets;
      return Ok();
    });
    if (!done) return done.error();
    return content;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "backup";
  std::size_t largest_ = 0;
};

TEST_F(EnvelopeTest, EachRecipientOpensIt) {
  const std::vector recipients = {Make("rsa", "rsa:2048"), Make("ec", "ec -pkeyopt ec_paramgen_curve:P-256"),
                                  Make("p384", "ec -pkeyopt ec_paramgen_curve:P-384")};
  Make("other", "rsa:2048");
  Make("stranger", "ec -pkeyopt ec_paramgen_curve:P-256");
  for (const std::size_t octets : {1ul, 1024ul, 100'000ul, 5'000'000ul}) {
    const std::string content = Noise(octets);
    Seal(recipients, content);
    for (const char* name : {"rsa", "ec", "p384"}) {
      const auto opened = Open(name);
      ASSERT_TRUE(opened) << name << octets << opened.error().message;
      EXPECT_EQ(*opened, content) << name;
    }
    for (const char* name : {"other", "stranger"}) {
      const auto opened = Open(name);
      ASSERT_FALSE(opened) << name;
      EXPECT_EQ(opened.error().reason, Reason::kInvalidArgument);
      EXPECT_NE(opened.error().message.find("not encrypted for the key"), std::string::npos) << opened.error().message;
    }
  }
  EXPECT_LT(largest_, 256u << 10);  // it leaves as it comes
}

TEST_F(EnvelopeTest, OpenSslOpensIt) {
  const auto certificate = Make("ec", "ec -pkeyopt ec_paramgen_curve:P-256");
  const std::string content = Noise(300'000);
  Seal({certificate}, content);
  const std::string at = folder_.path().string();
  const std::string command = "openssl cms -decrypt -binary -inform DER -in " + at + "/backup -inkey " + at +
                              "/ec.key -recip " + at + "/ec.pem -out " + at + "/out";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(*ReadFile(folder_.path() / "out"), content);
}

TEST_F(EnvelopeTest, WhatWasChangedOrCutOffIsRefused) {
  Seal({Make("ec", "ec -pkeyopt ec_paramgen_curve:P-256")}, Noise(20'000));
  const std::string octets = *ReadFile(file_);
  for (std::size_t at = 0; at < octets.size(); at += at < 700 || at + 100 > octets.size() ? 1 : 331) {
    std::string changed = octets;
    changed[at] ^= 1;
    std::ofstream(file_, std::ios::binary) << changed;
    const auto opened = Open("ec");
    // The names of issuer and serial number find the recipient; where a key is tried on all, they do not matter.
    if (!opened) continue;
    EXPECT_LT(at, 700u) << "octet " << at << " of " << octets.size();
    EXPECT_EQ(*opened, Noise(20'000));
  }
  for (std::size_t size = 0; size<octets.size(); size += size + 60> octets.size() ? 1 : 57) {
    std::ofstream(file_, std::ios::binary) << octets.substr(0, size);
    EXPECT_FALSE(Open("ec")) << size;
  }
  std::ofstream(file_, std::ios::binary) << octets << "more";
  EXPECT_FALSE(Open("ec"));
}

TEST_F(EnvelopeTest, OtherFilesAreRefused) {
  const auto certificate = Make("ec", "ec -pkeyopt ec_paramgen_curve:P-256");
  const std::string at = folder_.path().string();
  for (const char* options : {"-aes-256-cbc -stream", "-aes-256-gcm"}) {
    const std::string command = "openssl cms -encrypt -binary -outform DER -in /etc/os-release -out " + at +
                                "/backup " + options + " " + certificate.string();
    ASSERT_EQ(std::system(command.c_str()), 0);
    const auto opened = Open("ec");
    ASSERT_FALSE(opened) << options;
    EXPECT_NE(opened.error().message.find("is not a backup"), std::string::npos) << opened.error().message;
  }
  std::ofstream(file_) << "text";
  EXPECT_FALSE(Open("ec"));
  EXPECT_EQ(Unseal(folder_.path() / "none", Key("ec"), {}).error().reason, Reason::kNotFound);
}

std::int64_t PeakOctets() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

// A sparse file costs nobody anything.
TEST_F(EnvelopeTest, WhatAFileClaimsIsNotHeldInMemory) {
  Make("ec", "ec -pkeyopt ec_paramgen_curve:P-256");
  constexpr std::int64_t kClaimed = 512 << 20;
  const std::string length("\x84\x20\x00\x00\x00", 5);  // kClaimed
  const std::string oid("\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", 13);
  const std::string begin = "\x30\x80" + oid + "\xa0\x80\x30\x80";
  const std::string version("\x02\x01\x00", 3);
  const auto before = PeakOctets();
  for (const std::string& head : {"\x30\x80\x06" + length, begin + "\x02" + length, begin + version + "\x31" + length,
                                  begin + version + std::string("\x31\x00\x30\x80\x06", 5) + length}) {
    std::ofstream(file_, std::ios::binary) << head;
    std::filesystem::resize_file(file_, head.size() + kClaimed);
    const auto opened = Open("ec");
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().reason, Reason::kInvalidArgument) << opened.error().message;
  }
  EXPECT_LT(PeakOctets() - before, kClaimed / 8);
}

TEST_F(EnvelopeTest, TheSinksErrorIsGivenOn) {
  Seal({Make("ec", "ec -pkeyopt ec_paramgen_curve:P-256")}, "content");
  const Status full = Unseal(
      file_, Key("ec"), [](std::string_view) -> Status { return MakeError(Reason::kIoFailed, "the disk is full"); });
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message, "the disk is full");
}

TEST_F(EnvelopeTest, ACertificateMustBeOneToEncryptFor) {
  EXPECT_TRUE(CheckRecipient(Make("rsa", "rsa:2048")));
  EXPECT_TRUE(CheckRecipient(Make("ec", "ec -pkeyopt ec_paramgen_curve:P-521")));
  EXPECT_EQ(CheckRecipient(Make("small", "rsa:1024")).error().reason, Reason::kConfigInvalid);
  EXPECT_EQ(CheckRecipient(Make("ed", "ed25519")).error().reason, Reason::kConfigInvalid);
  EXPECT_EQ(CheckRecipient(Key("ec")).error().reason, Reason::kConfigInvalid);
  EXPECT_EQ(CheckRecipient("/none").error().reason, Reason::kConfigInvalid);
}

}  // namespace
}  // namespace hallmark::backup
