#include "firmware/runtime/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hallmark {
namespace {

class Configuration : public testing::Test {
 protected:
  Configuration() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-config-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "test.toml";
  }
  ~Configuration() override { std::filesystem::remove_all(folder_); }

  // Reads one table of every kind of key; the report of mistakes, empty when there is none.
  std::string Read(const std::string& content) {
    std::ofstream(path_, std::ios::binary) << content;
    auto file = ConfigFile::Load(path_);
    if (!file) return file.error().message;
    ConfigTable root = (*file)->root();
    ConfigTable table = root.Table("server");
    name_ = table.String("name", "a name");
    number_ = table.Integer("number", 7, 1, 10);
    list_ = table.Strings("list", "a list of names");
    map_ = table.StringMap("map");
    const Status done = (*file)->Finish();
    return done ? "" : done.error().message;
  }
  std::string At(int line, const std::string& rest) const {
    return path_.string() + ":" + std::to_string(line) + ": " + rest;
  }

  std::filesystem::path folder_, path_;
  std::string name_;
  std::int64_t number_ = 0;
  std::vector<std::string> list_;
  std::map<std::string, std::string> map_;
};

TEST_F(Configuration, TakesWhatIsRight) {
  EXPECT_EQ(Read("[server]\nname = \"a\"\nlist = [\"x\", \"y\"]\nmap = { K = \"v\" }\n"), "");
  EXPECT_EQ(name_, "a");
  EXPECT_EQ(number_, 7);
  EXPECT_EQ(list_, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(map_.at("K"), "v");
}

TEST_F(Configuration, ByteOrderMarkCrlfTabsAndTrailingSpacesDoNotMatter) {
  EXPECT_EQ(Read("\xEF\xBB\xBF[server] \t\r\n\tname =\t\"a\"  \r\nnumber = 3 \r\nlist = [ \"x\",\t]\r\n"), "");
  EXPECT_EQ(name_, "a");
  EXPECT_EQ(number_, 3);
}

TEST_F(Configuration, SaysWhereWhatAndWhatWasExpected) {
  EXPECT_EQ(Read("[server]\nname = 5\nlist = [\"x\"]\n"), At(2, "server.name: found a whole number; expected a name"));
  EXPECT_EQ(Read("[server]\nname = \"a\"\nnumber = 11\nlist = [\"x\"]\n"),
            At(3, "server.number: found 11; expected a whole number from 1 to 10"));
  EXPECT_EQ(Read("[server]\nname = \"a\"\n\nlist = []\n"),
            At(4, "server.list: found an empty list; expected a list of names"));
  EXPECT_EQ(Read("\n[server]\nlist = [\"x\"]\n"), At(2, "server.name: missing; expected a name"));
}

TEST_F(Configuration, ReportsEveryMistakeInTheOrderOfTheFile) {
  const std::string report = Read("[server]\nnumber = \"x\"\nlist = \"y\"\nnme = \"a\"\n[other]\nkey = 1\n");
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < report.size();) {
    const std::size_t end = std::min(report.find('\n', start), report.size());
    lines.push_back(report.substr(start, end - start));
    start = end + 1;
  }
  ASSERT_EQ(lines.size(), 5u) << report;
  EXPECT_EQ(lines[0], At(1, "server.name: missing; expected a name"));
  EXPECT_EQ(lines[1], At(2, "server.number: found a string; expected a whole number from 1 to 10"));
  EXPECT_EQ(lines[2], At(3, "server.list: found a string; expected a list of names"));
  EXPECT_EQ(lines[3], At(4, "server.nme: unknown key; expected one of the keys that its manual lists"));
  EXPECT_EQ(lines[4], At(5, "other: unknown key; expected one of the keys that its manual lists"));
}

TEST_F(Configuration, NotTomlNamesTheLine) {
  const std::string report = Read("[server]\nname = \n");
  EXPECT_EQ(report.substr(0, At(2, "not valid TOML").size()), At(2, "not valid TOML"));
}

}  // namespace
}  // namespace hallmark
