#include "signerd/backup/archive.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "firmware/runtime/file.h"
#include "sample.h"

namespace hallmark::backup {
namespace {

using Files = std::map<std::string, std::string>;

const Files kFiles = {{"hallmark.db", std::string(5000, 'd')},
                      {"ledger/segments/00000000000000000000.seg", std::string(512 * 40, 's')},
                      {"config/empty", ""},
                      {std::string(100, 'n'), "a name of 100 octets"},
                      {"config/" + std::string(90, 'f') + "/" + std::string(100, 'n'), "a long name"},
                      {std::string(155, 'f') + "/" + std::string(100, 'n'), "the longest"}};

std::string Pack(const Files& files) {
  std::string archive;
  ArchiveWriter writer([&](std::string_view octets) {
    archive += octets;
    return Ok();
  });
  for (const auto& [name, content] : files) {
    EXPECT_TRUE(writer.Begin(name, content.size(), 1'800'000'000));
    const std::size_t half = content.size() / 2;
    EXPECT_TRUE(writer.Write(std::string_view(content).substr(0, half)));
    EXPECT_TRUE(writer.Write(std::string_view(content).substr(half)));
  }
  EXPECT_TRUE(writer.Finish());
  return archive;
}

// Gives the octets in pieces of this size.
Result<Files> Unpack(std::string_view archive, std::size_t piece) {
  Files files;
  std::string now;
  int open = 0;
  ArchiveReader reader({[&](const std::string& name, std::uint64_t) {
                          now = name;
                          ++open;
                          files[name];
                          return Ok();
                        },
                        [&](std::string_view octets) {
                          files[now] += octets;
                          return Ok();
                        },
                        [&] {
                          --open;
                          return Ok();
                        }});
  for (; !archive.empty(); archive.remove_prefix(std::min(piece, archive.size()))) {
    const Status taken = reader.Take(archive.substr(0, piece));
    if (!taken) return taken.error();
  }
  const Status whole = reader.Finish();
  if (!whole) return whole.error();
  EXPECT_EQ(open, 0);
  return files;
}

TEST(Archive, ComesOutAsItWentInAtEverySplit) {
  const std::string archive = Pack(kFiles);
  for (const std::size_t piece : {1ul, 7ul, 511ul, 512ul, 513ul, 4096ul, archive.size()}) {
    const auto files = Unpack(archive, piece);
    ASSERT_TRUE(files) << files.error().message;
    EXPECT_EQ(*files, kFiles) << piece;
  }
  EXPECT_EQ(*Unpack(Pack({}), 100), Files());
}

TEST(Archive, TarUnpacksIt) {
  test::TemporaryFolder folder;
  std::ofstream(folder.path() / "a.tar", std::ios::binary) << Pack(kFiles);
  const std::string at = folder.path().string();
  ASSERT_EQ(std::system(("mkdir " + at + "/out && tar -xf " + at + "/a.tar -C " + at + "/out").c_str()), 0);
  for (const auto& [name, content] : kFiles) EXPECT_EQ(*ReadFile(folder.path() / "out" / name), content) << name;
}

TEST(Archive, OneThatIsCutOffOrChangedIsRefused) {
  const std::string archive = Pack({{"a", std::string(700, 'a')}, {"b", "b"}});
  for (std::size_t size = 0; size + 512 < archive.size(); size += 100) {
    EXPECT_FALSE(Unpack(archive.substr(0, size), 4096)) << size;
  }
  for (const std::size_t at : {0, 100, 125, 150, 156, 260}) {  // in every part of a header
    std::string changed = archive;
    changed[at] ^= 4;
    EXPECT_FALSE(Unpack(changed, 4096)) << at;
  }
  EXPECT_FALSE(Unpack(archive + archive, 4096));
  EXPECT_FALSE(Unpack(std::string(2048, 'x'), 4096));
}

TEST(Archive, OnlyRegularFilesAreTaken) {
  test::TemporaryFolder folder;
  const std::string at = folder.path().string();
  ASSERT_EQ(std::system(("cd " + at + " && ln -s /etc/passwd link && tar --format=ustar -cf a.tar link").c_str()), 0);
  const auto files = Unpack(*ReadFile(folder.path() / "a.tar"), 4096);
  ASSERT_FALSE(files);
  EXPECT_NE(files.error().message.find("regular files"), std::string::npos) << files.error().message;
}

TEST(Archive, AFileMustHaveTheLengthThatItWasBegunWith) {
  const auto nowhere = [](std::string_view) { return Ok(); };
  ArchiveWriter longer(nowhere);
  ASSERT_TRUE(longer.Begin("a", 3, 0));
  EXPECT_FALSE(longer.Write("four"));
  ArchiveWriter shorter(nowhere);
  ASSERT_TRUE(shorter.Begin("a", 3, 0));
  ASSERT_TRUE(shorter.Write("ab"));
  EXPECT_FALSE(shorter.Begin("b", 1, 0));
  ArchiveWriter other(nowhere);
  EXPECT_FALSE(other.Begin(std::string(101, 'n'), 1, 0));
  EXPECT_FALSE(other.Begin(std::string(156, 'f') + "/n" + std::string(100, 'n'), 1, 0));
  EXPECT_FALSE(other.Begin("a", std::uint64_t{1} << 33, 0));
}

}  // namespace
}  // namespace hallmark::backup
