#include "firmware/runtime/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "firmware/runtime/secret.h"

namespace hallmark {
namespace {

class Files : public testing::Test {
 protected:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-file-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path Write(const std::string& name, const std::string& content, mode_t mode) {
    const auto path = folder_ / name;
    std::ofstream(path) << content;
    ::chmod(path.c_str(), mode);
    return path;
  }
  std::filesystem::path folder_;
};

TEST_F(Files, WriteReplacesWholeAndLeavesNothingBehind) {
  const auto path = folder_ / "state";
  ASSERT_TRUE(WriteFileAtomically(path, "first", 0600));
  ASSERT_TRUE(WriteFileAtomically(path, "second", 0600));
  EXPECT_EQ(*ReadFile(path), "second");
  struct stat facts {};
  ASSERT_EQ(::stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(Files, MissingFileIsNotFoundAndNamed) {
  const auto content = ReadFile(folder_ / "absent");
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().reason, Reason::kNotFound);
  EXPECT_NE(content.error().message.find("absent"), std::string::npos);
}

TEST_F(Files, TooLargeIsRefused) {
  const auto content = ReadFile(Write("big", std::string(11, 'x'), 0644), 10);
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().reason, Reason::kInvalidArgument);
}

TEST_F(Files, TooLargeIsRefusedBeforeMemoryIsTaken) {
  const auto path = Write("huge", "", 0600);
  std::filesystem::resize_file(path, std::uintmax_t{1} << 40);  // a hole
  EXPECT_EQ(ReadFile(path, 1000).error().reason, Reason::kInvalidArgument);
}

TEST_F(Files, WriteIntoMissingFolderChangesNothing) {
  EXPECT_FALSE(WriteFileAtomically(folder_ / "none" / "state", "x"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "none"));
}

TEST_F(Files, SecretIsTheFirstLine) {
  const auto secret = ReadSecretFile(Write("pin", "1234\nsecond line\n", 0600));
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->view(), "1234");
}

TEST_F(Files, SecretThatOthersCanReadIsRefusedWithoutBeingTold) {
  const auto secret = ReadSecretFile(Write("pin", "98765\n", 0644));
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().reason, Reason::kConfigInvalid);
  EXPECT_EQ(secret.error().message.find("98765"), std::string::npos);
}

TEST_F(Files, EmptyAndOverlongSecretsAreRefused) {
  EXPECT_FALSE(ReadSecretFile(Write("empty", "\n", 0600)));
  EXPECT_FALSE(ReadSecretFile(Write("long", std::string(1025, '1'), 0600)));
  EXPECT_FALSE(ReadSecretFile(Write("longer", std::string(9000, '1'), 0600)));
}

}  // namespace
}  // namespace hallmark
