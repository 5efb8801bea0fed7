#include "tools/dkimctl/inputs.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace hallmark::ctl {
namespace {

namespace fs = std::filesystem;

bool Hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

// False too for a link that leads nowhere, and for a file that went since it was listed; neither is an error.
bool IsFile(const fs::directory_entry& entry, std::error_code& error) {
  const fs::file_type type = entry.status(error).type();
  if (type == fs::file_type::not_found || error == std::errc::too_many_symbolic_link_levels) error.clear();
  return type == fs::file_type::regular;
}

// What tells a file from all others, whatever it is called; nothing where there is none.
std::optional<std::pair<dev_t, ino_t>> IdentityOf(const fs::path& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return std::nullopt;
  return std::pair(facts.st_dev, facts.st_ino);
}

Status Walk(const fs::path& folder, std::vector<Input>& inputs) {
  std::vector<Input> found;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  while (!error && entry != fs::recursive_directory_iterator()) {
    if (Hidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (IsFile(*entry, error)) {
      found.push_back({entry->path().string(), entry->path().lexically_relative(folder)});
    }
    if (!error) entry.increment(error);
  }
  if (error) return MakeError(Reason::kIoFailed, folder.string() + ": cannot list: " + error.message());
  std::sort(found.begin(), found.end(), [](const Input& a, const Input& b) { return a.name < b.name; });
  inputs.insert(inputs.end(), found.begin(), found.end());
  return Ok();
}

}  // namespace

Answer<std::vector<Input>> ListInputs(const std::vector<std::string>& arguments) {
  std::vector<Input> inputs;
  for (const std::string& argument : arguments) {
    std::error_code error;
    if (argument == "-") {
      inputs.push_back({argument, "stdin.eml"});
    } else if (fs::is_directory(argument, error)) {
      if (const Status walked = Walk(argument, inputs); !walked) return FromError(walked.error());
    } else if (fs::exists(argument, error)) {
      inputs.push_back({argument, fs::path(argument).filename()});
    } else {
      return Failed(argument + ": " + (error ? error.message() : "no such file or folder"));
    }
  }
  if (inputs.empty()) return Failed("no message in the folders that were named");
  return inputs;
}

Answer<void> CheckNames(const std::vector<Input>& inputs) {
  std::map<fs::path, std::string> names;
  for (const Input& input : inputs) {
    const auto [other, fresh] = names.emplace(input.name, input.path);
    if (!fresh) {
      return WrongUsage(other->second + " and " + input.path + " would both become " + input.name.string() +
                        "; give them in two runs");
    }
  }
  return {};
}

Answer<void> CheckTargets(const std::vector<Input>& inputs, const std::filesystem::path& folder) {
  std::map<std::pair<dev_t, ino_t>, std::string> originals;
  for (const Input& input : inputs) {
    const auto identity = input.path == "-" ? std::nullopt : IdentityOf(input.path);
    if (identity) originals.emplace(*identity, input.path);
  }
  for (const Input& input : inputs) {
    const auto identity = IdentityOf(folder / input.name);
    const auto original = identity ? originals.find(*identity) : originals.end();
    if (original == originals.end()) continue;
    return WrongUsage((folder / input.name).string() + ": would take the place of " + original->second +
                      ", which is to be signed; name another folder with --out");
  }
  return {};
}

}  // namespace hallmark::ctl
