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
  // `terminal` is what is typed at; empty, or one that cannot be opened: nobody types.
  explicit Console(const std::filesystem::path& terminal);

  // A line for whoever looks: "hallmark: TEXT".
  void Say(const std::string& text) const;
  // The same for the eyes of whoever is there, and for no log: on the terminal itself, where it is one.
  void Show(const std::string& text) const;
  // What was typed up to a line end, without it; nothing when `wait` is over first. What is longer than any line of
  // ours is cut off.
  std::optional<std::string> ReadLine(std::chrono::milliseconds wait);
  // The next line that is typed, without an echo. Waits as long as it takes. kNotFound where nobody can type,
  // kInvalidArgument for a line that is no PIN of any token.
  Result<SecretString> ReadHidden();

 private:
  std::optional<std::string> TakeLine();
  FileDescriptor terminal_;
  std::string typed_;
};

}  // namespace hallmark::provision
