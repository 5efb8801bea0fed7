#pragma once

#include <filesystem>
#include <string>

#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// Where the session of the operator `name` of the set-up `directory` is kept between commands: below $XDG_RUNTIME_DIR,
// which is of this login only, else among the set-up's secrets.
std::filesystem::path SessionPath(const std::filesystem::path& directory, const std::string& name);

// Empty when there is none, or one that others could read.
std::string ReadSession(const std::filesystem::path& path);
// With mode 0600.
Answer<void> WriteSession(const std::filesystem::path& path, const std::string& token);
void RemoveSession(const std::filesystem::path& path);

// Whether somebody can be shown something and asked.
bool HasTerminal();
// The code from a terminal; nothing where there is none. It is shown as it is typed: it is good once, for a minute.
std::string AskForCode(const std::string& name);

}  // namespace hallmark::ctl
