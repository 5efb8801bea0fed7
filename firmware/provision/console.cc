#include "firmware/provision/console.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <sstream>
#include <string_view>
#include <thread>

#include "firmware/runtime/printable.h"

namespace hallmark::provision {

constexpr std::size_t kMostTyped = 4096, kMostShown = 2000;
constexpr int kWriting = 10'000;  // ms

namespace {

// What is typed meanwhile is not shown; what was typed before is not taken for it.
class NoEcho {
 public:
  explicit NoEcho(int terminal) : terminal_(terminal), is_one_(::tcgetattr(terminal, &before_) == 0) {
    if (!is_one_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
    quiet.c_lflag |= ICANON;
    ::tcsetattr(terminal_, TCSAFLUSH, &quiet);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;
  ~NoEcho() {
    if (is_one_) ::tcsetattr(terminal_, TCSAFLUSH, &before_);
  }

 private:
  int terminal_;
  termios before_{};
  bool is_one_;
};

// A line on the stack, wiped when it goes.
struct Line {
  char text[256];
  std::size_t size = 0;
  ~Line() { ::explicit_bzero(text, sizeof text); }
  // False at the end of the line. An octet too many stays away from the text, but counts.
  bool Add(char c) {
    if (c == '\n' || c == '\r') return false;
    if (size < sizeof text) text[size] = c;
    ++size;
    return true;
  }
};

}  // namespace

Console::Console(std::filesystem::path terminal) : path_(std::move(terminal)) { Open(); }

void Console::Open() {
  // Read and write: so that a serial line without anybody, or a FIFO, is not at its end.
  if (!path_.empty()) terminal_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
}

void Console::Say(const std::string& text) const {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::printf("hallmark: %s\n", Printable(line, kMostShown).c_str());
  }
  std::fflush(stdout);
}

void Console::Show(const std::string& text) const {
  if (!terminal_ || ::isatty(terminal_.get()) == 0) return Say(text);
  const std::string line = "hallmark: " + Printable(text, kMostShown) + "\n";  // the terminal makes a line end of it
  std::string_view left = line;
  while (!left.empty()) {
    pollfd writable{terminal_.get(), POLLOUT, 0};
    if (::poll(&writable, 1, kWriting) <= 0) return;  // nobody can see anything there
    const ssize_t count = ::write(terminal_.get(), left.data(), left.size());
    if (count > 0) left.remove_prefix(static_cast<std::size_t>(count));
    if (count < 0 && errno != EAGAIN && errno != EINTR) return;
  }
}

std::optional<std::string> Console::TakeLine() {
  const std::size_t end = typed_.find_first_of("\r\n");
  if (end == std::string::npos) return std::nullopt;
  std::string line = typed_.substr(0, end);
  typed_.erase(0, typed_.compare(end, 2, "\r\n") == 0 ? end + 2 : end + 1);
  return line;
}

std::optional<std::string> Console::ReadLine(std::chrono::milliseconds wait) {
  if (auto line = TakeLine()) return line;
  if (!terminal_) Open();
  pollfd typing{terminal_.get(), POLLIN, 0};
  if (terminal_ && ::poll(&typing, 1, static_cast<int>(wait.count())) <= 0) return std::nullopt;
  char buffer[256];
  const auto count = Read(buffer, sizeof buffer, typing.revents);
  if (!count) {
    std::this_thread::sleep_for(wait);
    return std::nullopt;
  }
  // The end of a line that was too long ends it all the same.
  const std::string_view read(buffer, *count);
  typed_ += typed_.size() < kMostTyped ? read : read.substr(std::min(read.find_first_of("\r\n"), read.size()));
  return TakeLine();
}

Result<std::size_t> Console::Read(char* into, std::size_t most, short events) {
  const ssize_t count = ::read(terminal_.get(), into, most);
  const int error = count < 0 ? errno : 0;
  if (count > 0) return static_cast<std::size_t>(count);
  const bool hung_up = (events & (POLLERR | POLLHUP | POLLNVAL)) != 0;
  if (!hung_up && (error == EAGAIN || error == EINTR)) return std::size_t{0};
  if (!hung_up && count == 0 && ::isatty(terminal_.get()) == 1) {
    *into = '\n';
    return std::size_t{1};
  }
  terminal_.Reset();
  typed_.clear();
  return MakeError(Reason::kNotFound, "there is no console to type at, or it was closed");
}

Result<SecretString> Console::ReadHidden(const std::string& prompt) {
  typed_.clear();
  Line line;
  if (!terminal_) Open();
  const NoEcho no_echo(terminal_.get());  // drops what was typed before
  Say(prompt);
  for (char c = 0;;) {
    pollfd typing{terminal_.get(), POLLIN, 0};
    if (terminal_ && ::poll(&typing, 1, -1) < 0) continue;  // a signal
    const auto count = Read(&c, 1, typing.revents);
    if (!count) return count.error();
    if (*count == 1 && !line.Add(c)) break;
  }
  if (line.size > sizeof line.text) return MakeError(Reason::kInvalidArgument, "that was too long for a PIN");
  return SecretString::Create({line.text, line.size});
}

}  // namespace hallmark::provision
