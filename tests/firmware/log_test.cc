#include "firmware/runtime/log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace hallmark {
namespace {

// What a process logs to a pipe, of which systemd told it that the journal reads it; `offset`: another inode's number.
std::string Logged(std::uint64_t offset) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    struct stat facts {};
    ::fstat(ends[1], &facts);
    const std::string stream = std::to_string(facts.st_dev) + ":" + std::to_string(facts.st_ino + offset);
    ::setenv("JOURNAL_STREAM", stream.c_str(), 1);
    ::dup2(ends[1], STDERR_FILENO);
    log::Init("program", "debug");
    log::error("one\nof {}", "two lines");
    log::warn("two");
    log::info("three");
    log::debug("four");
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char octets[512];
  for (ssize_t count = 0; (count = ::read(ends[0], octets, sizeof(octets))) > 0;) text.append(octets, count);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return text;
}

// So that `journalctl -p warning` finds them.
TEST(Log, EachLineHasItsPriorityForTheJournal) {
  EXPECT_EQ(Logged(0),
            "<3>program error: one\\x0aof two lines\n"
            "<4>program warning: two\n"
            "<6>program info: three\n"
            "<7>program debug: four\n");
}

TEST(Log, ALineHasItsTimeElsewhere) {
  EXPECT_EQ(Logged(1).find('<'), std::string::npos);
  EXPECT_EQ(Logged(1).find(" program error: one\\x0aof two lines\n"),
            std::string("2026-01-01T00:00:00.000+00:00").size());
}

}  // namespace
}  // namespace hallmark
