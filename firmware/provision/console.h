#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "firmware/runtime/file.h"
#include "firmware/runtime/secret.h"

namespace hallmark::provision {

// The box's console: a person may be there, or nobody. Used by one thread.
class Console {
 public:
  // `terminal` is what is typed at; empty: nobody types. One that cannot be opened, or was closed, is tried again by
  // the next reading.
  explicit Console(std::filesystem::path terminal);

  // Lines for whoever looks: "hallmark: LINE". What is not printable ASCII is shown as \DDD, because strangers may have
  // written it.
  void Say(const std::string& text) const;
  // The same for the eyes of whoever is there, and for no log: on the terminal itself, where it is one.
  void Show(const std::string& text) const;
  // What was typed up to a line end, without it; nothing when `wait` is over first. What is longer than any line of
  // ours is cut off. Ctrl-D is an empty line.
  std::optional<std::string> ReadLine(std::chrono::milliseconds wait);
  // Whether somebody could type when that was last tried.
  bool IsOpen() const { return static_cast<bool>(terminal_); }
  // Says `prompt`; and the next line that is typed, none of it echoed. Waits as long as it takes. kNotFound where
  // nobody can type, kInvalidArgument for a line that is no PIN of any token.
  Result<SecretString> ReadHidden(const std::string& prompt);

 private:
  void Open();
  // What can be read after poll gave `events`: none or more octets, a line end for Ctrl-D. kNotFound when the terminal
  // is gone; it is closed then.
  Result<std::size_t> Read(char* into, std::size_t most, short events);
  std::optional<std::string> TakeLine();

  std::filesystem::path path_;
  FileDescriptor terminal_;
  std::string typed_;
};

}  // namespace hallmark::provision
