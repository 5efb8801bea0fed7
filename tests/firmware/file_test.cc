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

struct PinFile {
  const char* name;
  std::string content;
  const char* words;  // of the refusal; null: the PIN is 4829
};
class PinFiles : public Files, public testing::WithParamInterface<PinFile> {};

TEST_P(PinFiles, AreTakenOrRefusedWithoutBeingTold) {
  const auto pin = ReadPinFile(Write("pin", GetParam().content, 0600));
  if (GetParam().words == nullptr) {
    ASSERT_TRUE(pin) << pin.error().message;
    EXPECT_EQ(pin->view(), "4829");
    return;
  }
  ASSERT_FALSE(pin);
  EXPECT_EQ(pin.error().reason, Reason::kConfigInvalid);
  EXPECT_NE(pin.error().message.find(GetParam().words), std::string::npos) << pin.error().message;
  EXPECT_EQ(pin.error().message.find("4829"), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(
    All, PinFiles,
    testing::Values(PinFile{"Alone", "4829", nullptr}, PinFile{"Lf", "4829\n", nullptr},
                    PinFile{"CrLf", "4829\r\n", nullptr}, PinFile{"MoreLines", "4829\r\n 1111 \r\n", nullptr},
                    PinFile{"BlankAfter", "4829 \n", "blank"}, PinFile{"BlankBeforeCrLf", "4829 \r\n", "blank"},
                    PinFile{"BlankBefore", " 4829\n", "blank"}, PinFile{"TabAfter", "4829\t", "blank"},
                    PinFile{"ZeroAfter", std::string("4829\0", 5), "blank"},
                    PinFile{"ByteOrderMark",
                            "\xef\xbb\xbf"
                            "4829\n",
                            "byte order mark"},
                    PinFile{"Utf16",
                            std::string("\xff\xfe"
                                        "4\0"
                                        "8\0"
                                        "2\0"
                                        "9\0",
                                        10),
                            "byte order mark"},
                    PinFile{"Empty", "\r\n", "empty"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark
