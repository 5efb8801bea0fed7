#include "hsm/tokend/softhsm_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/endian/conversion.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <regex>
#include <string>

#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"

namespace hallmark::tokend {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kCoarseTime{1};  // a file's time may lag behind the clock
constexpr std::size_t kMostOctets = 1 << 20;    // of a configuration or a token.object: some hundreds in truth

Error Failed(const fs::path& path, const char* what) {
  return MakeError(Reason::kIoFailed, path.string() + ": cannot " + what + ": " + std::strerror(errno));
}

std::optional<std::string> Setting(const std::string& configuration, const std::string& key) {
  const std::regex line("(?:^|\n)[ \t]*" + key + "[ \t]*=[ \t]*([^\n]*?)[ \t\r]*(?=\n|$)");
  std::smatch found;
  if (!std::regex_search(configuration, found, line)) return std::nullopt;
  return found[1].str();
}

std::optional<std::uint64_t> TakeNumber(std::string_view& rest) {
  if (rest.size() < 8) return std::nullopt;
  const auto number = boost::endian::load_big_u64(reinterpret_cast<const unsigned char*>(rest.data()));
  rest.remove_prefix(8);
  return number;
}

// The octets of a value of `kind`; none where it is no kind of SoftHSM's, or its length is missing.
std::optional<std::uint64_t> ValueSize(std::uint64_t kind, std::string_view& rest) {
  switch (kind) {
    case 1:  // CK_BBOOL
      return 1;
    case 2:  // CK_ULONG
      return 8;
    case 3:  // octets
    case 4:  // attributes
      return TakeNumber(rest);
    case 5: {  // mechanisms
      const auto count = TakeNumber(rest);
      if (!count || *count > kMostOctets) return std::nullopt;
      return 8 * *count;
    }
    default: return std::nullopt;
  }
}

// One token's folder. SoftHSM's own lock keeps its other users (softhsm2-util) out of the file meanwhile. It is one of
// the open file: one of the process would be gone as soon as any descriptor of that file is closed, as ReadFile does.
Status MendToken(const fs::path& token) {
  const fs::path object = token / "token.object", copy = token / "token.object.copy";
  const FileDescriptor file(::open(object.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno != ENOENT) return Failed(object, "open");
  struct flock lock {};
  lock.l_type = F_RDLCK;
  if (file && ::fcntl(file.get(), F_OFD_SETLKW, &lock) != 0) return Failed(object, "lock");
  const auto present = ReadFile(object, kMostOctets);
  if (!present && present.error().reason != Reason::kNotFound) return present.error();
  const auto kept = ReadFile(copy, kMostOctets);
  if (!kept && kept.error().reason != Reason::kNotFound) return kept.error();
  if (present && SoftHsmFiles::IsWhole(*present)) {
    return kept && *kept == *present ? Ok() : WriteFileAtomically(copy, *present, 0600);
  }
  if (!kept || !SoftHsmFiles::IsWhole(*kept)) return Ok();  // not a token, or one that was never used
  log::warn("{}: broken off while it was written; its copy is put in its place", object.string());
  return WriteFileAtomically(object, *kept, 0600);
}

// Until one is an error. A loop over the iterator itself would throw where it cannot go on.
template <class Iterator, class Do>
Status ForEach(const fs::path& folder, Do call) {
  std::error_code failed;
  for (Iterator entry(folder, fs::directory_options::skip_permission_denied, failed); !failed && entry != Iterator();
       entry.increment(failed)) {
    if (const Status done = call(*entry); !done) return done;
  }
  return failed ? Status(MakeError(Reason::kIoFailed, folder.string() + ": cannot read: " + failed.message())) : Ok();
}

}  // namespace

SoftHsmFiles::SoftHsmFiles(const fs::path& module) {
  if (module.filename().string().find("softhsm") == std::string::npos) return;
  const char* named = std::getenv("SOFTHSM2_CONF");
  const auto configuration = ReadFile(named != nullptr ? named : "/etc/softhsm/softhsm2.conf", kMostOctets);
  if (!configuration) return;  // SoftHSM itself says what is wrong
  if (Setting(*configuration, "objectstore\\.backend").value_or("file") != "file") return;
  folder_ = Setting(*configuration, "directories\\.tokendir").value_or("");
}

Status SoftHsmFiles::Mend() const {
  if (folder_.empty()) return Ok();
  return ForEach<fs::directory_iterator>(folder_, [](const fs::directory_entry& entry) {
    std::error_code gone;
    return entry.is_directory(gone) ? MendToken(entry.path()) : Ok();
  });
}

Status SoftHsmFiles::Sync(fs::file_time_type since) const {
  if (folder_.empty()) return Ok();
  return ForEach<fs::recursive_directory_iterator>(folder_, [&](const fs::directory_entry& entry) {
    std::error_code gone;  // SoftHSM takes away what was destroyed
    const bool folder = entry.is_directory(gone);
    if (!folder && entry.last_write_time(gone) < since - kCoarseTime) return Ok();
    if (gone) return Ok();
    const FileDescriptor file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file && errno == ENOENT) return Ok();
    return !file || ::fsync(file.get()) != 0 ? Status(Failed(entry.path(), "sync")) : Ok();
  });
}

bool SoftHsmFiles::IsWhole(std::string_view object) {
  if (!TakeNumber(object) || object.empty()) return false;
  while (!object.empty()) {
    const auto type = TakeNumber(object), kind = TakeNumber(object);
    if (!type || !kind) return false;
    const auto size = ValueSize(*kind, object);
    if (!size || *size > object.size()) return false;
    object.remove_prefix(*size);
  }
  return true;
}

}  // namespace hallmark::tokend
