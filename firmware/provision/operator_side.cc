#include "firmware/provision/operator_side.h"

#include "firmware/provision/check.h"
#include "firmware/provision/starter.h"
#include "firmware/runtime/file.h"

namespace hallmark::provision {

namespace fs = std::filesystem;

Result<Source> ReadSource(const fs::path& box) {
  const auto text = ReadFile(box, kMostOctets);
  if (!text) return text.error();
  const auto named = ParseSource(*text, box);
  if (!named) return named.error();
  std::map<std::string, std::string> files;
  for (const std::string& name : named->file_names) {
    auto content = ReadFile(box.parent_path() / name, kMostOctets);
    if (!content) return MakeError(Reason::kConfigInvalid, box.string() + ": files: " + content.error().message);
    files[name] = std::move(*content);
  }
  auto packed = Pack(*text, files);
  if (!packed) return packed.error();
  // As the box will read it: what does not come back the same is not sent.
  auto configuration = ParsePacked(*packed, box);
  if (!configuration) return configuration.error();
  if (configuration->files != files)
    return MakeError(Reason::kInternal, box.string() + ": does not read the same when packed");
  if (const Status fit = CheckForDaemon(*configuration, box.parent_path()); !fit) return fit.error();
  return Source{std::move(*packed), std::move(*configuration)};
}

Result<std::vector<std::string>> MakeStarter(const fs::path& folder, const std::string& host_name) {
  Answers answers;
  answers.host_name = host_name;
  answers.certificate_names = {"DNS:" + host_name};
  const auto files = StarterFiles(answers);
  std::error_code failed;
  fs::create_directories(folder / "tls", failed);
  if (failed) return MakeError(Reason::kIoFailed, folder.string() + ": cannot be made: " + failed.message());
  for (const auto& [name, content] : files) {
    if (fs::exists(folder / name, failed)) {
      return MakeError(Reason::kAlreadyExists, (folder / name).string() + " is there already; nothing was changed");
    }
  }
  std::vector<std::string> made;
  for (const auto& [name, content] : files) {
    if (const Status put = WriteFileAtomically(folder / name, content); !put) return put.error();
    made.push_back((folder / name).string());
  }
  return made;
}

}  // namespace hallmark::provision
