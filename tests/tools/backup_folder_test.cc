#include "tools/dkimctl/backup_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "dkimctl_run.h"
#include "signerd/backup/envelope.h"

namespace hallmark::ctl {
namespace {

using testing::HasSubstr;

constexpr uid_t kNobody = 65534;

// Root may remove anything.
class AsNobody {
 public:
  AsNobody() {
    if (!root_) return;
    EXPECT_EQ(::seteuid(kNobody), 0);
  }
  ~AsNobody() {
    if (!root_) return;
    EXPECT_EQ(::seteuid(0), 0);
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  const bool root_ = ::geteuid() == 0;
};

class BackupFolderTest : public testing::Test {
 protected:
  BackupFolderTest() {
    const std::string certificate = folder_ / "officer.pem", key = folder_ / "officer.key";
    EXPECT_EQ(Program("openssl", {"req", "-x509", "-nodes", "-days", "3", "-subj", "/CN=officer", "-newkey", "ec",
                                  "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate})
                  .exit_code,
              0);
    std::ofstream file(folder_ / "backup", std::ios::binary);
    auto sealer = backup::Sealer::Begin({certificate}, [&](std::string_view octets) {
      file << octets;
      return Ok();
    });
    EXPECT_TRUE(sealer);
    backup::ArchiveWriter archive([&](std::string_view octets) { return sealer->Write(octets); });
    for (const char* name : {"backup.json", "hallmark.db", "config/hallmark.toml"}) {
      EXPECT_TRUE(archive.Begin(name, 6, 1'800'000'000));
      EXPECT_TRUE(archive.Write("secret"));
    }
    EXPECT_TRUE(archive.Finish());
    EXPECT_TRUE(sealer->Finish());
    // Of whoever unpacks.
    std::filesystem::create_directory(home_);
    if (::geteuid() == 0) {
      for (const std::string& path : {folder_.path().string(), home_.string(), key, folder_ / "backup"}) {
        EXPECT_EQ(::chown(path.c_str(), kNobody, kNobody), 0);
      }
    }
  }
  // A folder that gives nothing away.
  static void Lock(const std::filesystem::path& folder) { EXPECT_EQ(::chmod(folder.c_str(), 0500), 0); }
  static void Unlock(const std::filesystem::path& folder) { EXPECT_EQ(::chmod(folder.c_str(), 0700), 0); }
  Answer<BackupFolder> Unpack() {
    return BackupFolder::Unpack(folder_ / "backup", folder_ / "officer.key", home_ / "state", stop_);
  }

  TemporaryFolder folder_;
  const std::filesystem::path home_ = folder_.path() / "home";
  const StopSignals stop_;
};

TEST_F(BackupFolderTest, TheStateAloneIsKept) {
  const AsNobody nobody;
  auto unpacked = Unpack();
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  const auto kept = unpacked->Keep(true);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(ReadText(home_ / "state/hallmark.db"), "secret");
  for (const char* other : {"config", "backup.json", "restoring"}) {
    EXPECT_FALSE(std::filesystem::exists(home_ / "state" / other)) << other;
  }
}

TEST_F(BackupFolderTest, WhatCannotBeLeftOutIsNotRestored) {
  const AsNobody nobody;
  std::optional<BackupFolder> unpacked = std::move(*Unpack());
  const auto config = unpacked->path() / "config";
  Lock(config);
  const auto kept = unpacked->Keep(true);
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().message, HasSubstr("config: cannot be left out"));
  EXPECT_FALSE(std::filesystem::exists(home_ / "state/config"));
  Unlock(config);
  unpacked.reset();
  EXPECT_FALSE(std::filesystem::exists(home_ / "state"));
}

// Exit code 4 would say that the backup is not whole.
TEST_F(BackupFolderTest, AVerifierKeyThatIsNoneSaysNothingOfTheBackup) {
  const std::string file = folder_ / "backup", key = folder_ / "officer.key", state = home_ / "state";
  for (const std::string& given : {folder_ / "missing", key}) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"backup", "check", file}, {"backup", "restore", file, "--state", state}}) {
      std::vector<std::string> line = words;
      line.insert(line.end(), {"--key", key, "--verifier-key", given});
      const auto run = Dkimctl(line);
      EXPECT_EQ(run.exit_code, 1) << run.out;
      EXPECT_EQ(run.out, "");
      EXPECT_THAT(run.err, HasSubstr(given));
      EXPECT_FALSE(std::filesystem::exists(state));
    }
  }
}

TEST_F(BackupFolderTest, WhatStaysIsTold) {
  const AsNobody nobody;
  std::optional<BackupFolder> unpacked = std::move(*Unpack());
  const auto config = unpacked->path() / "config";
  Lock(config);
  testing::internal::CaptureStderr();
  unpacked.reset();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::AllOf(HasSubstr("state/restoring: has what was decrypted"), HasSubstr("cannot be removed")));
  ASSERT_TRUE(std::filesystem::exists(config / "hallmark.toml"));
  Unlock(config);
}

}  // namespace
}  // namespace hallmark::ctl
