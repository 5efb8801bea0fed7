#include "tools/dkimctl/session_file.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iostream>

#include "firmware/runtime/file.h"
#include "firmware/runtime/secret.h"

namespace hallmark::ctl {

std::filesystem::path SessionPath(const std::filesystem::path& directory, const std::string& name) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime == '\0') return directory / "secrets" / (name + ".session");
  // One file for each set-up: its path, with what cannot be in a file's name made so that no two become one.
  std::string file;
  for (const char c : directory.string()) {
    if (c == '/' || c == '%') {
      file += c == '/' ? "%2f" : "%25";
    } else {
      file += c;
    }
  }
  return std::filesystem::path(runtime) / "hallmark" / (file + "%" + name + ".session");
}

std::string ReadSession(const std::filesystem::path& path) {
  const auto token = ReadSecretFile(path);
  return token ? std::string(token->view()) : std::string();
}

Answer<void> WriteSession(const std::filesystem::path& path, const std::string& token) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return Failed(path.parent_path().string() + ": cannot make the folder: " + error.message());
  if (const Status written = WriteFileAtomically(path, token + "\n", 0600); !written) return FromError(written.error());
  return {};
}

void RemoveSession(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

bool HasTerminal() { return ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0; }

std::string AskForCode(const std::string& name) {
  if (!HasTerminal()) return "";
  std::cerr << "Code of " << name << "'s authenticator: " << std::flush;
  std::string code;
  std::getline(std::cin, code);
  std::erase_if(code, [](unsigned char c) { return std::isspace(c) != 0; });
  return code;
}

}  // namespace hallmark::ctl
