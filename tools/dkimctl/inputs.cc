#include "tools/dkimctl/inputs.h"

#include <algorithm>
#include <map>

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

}  // namespace hallmark::ctl
