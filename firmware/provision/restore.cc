#include "firmware/provision/restore.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/subprocess.h"

namespace hallmark::provision {
namespace {

constexpr std::chrono::hours kLimit{6};  // 64 GiB from a slow stick

// Lower-case hexadecimal; a backup may be larger than memory.
Result<std::string> HashOf(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return MakeError(Reason::kNotFound, path.filename().string() + " on the stick: " + std::strerror(errno));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (!hash || EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) != 1)
    return MakeError(Reason::kInternal, "no SHA-256");
  std::vector<std::uint8_t> buffer(1u << 16);
  while (true) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    // The stick's trouble, not the box's: it may have been taken out.
    if (count < 0) {
      return MakeError(Reason::kNotFound, path.filename().string() + " on the stick: " + std::strerror(errno));
    }
    if (count == 0) break;
    EVP_DigestUpdate(hash.get(), buffer.data(), static_cast<std::size_t>(count));
  }
  unsigned size = 0;
  EVP_DigestFinal_ex(hash.get(), buffer.data(), &size);
  return HexEncode({buffer.data(), size});
}

}  // namespace

Status RestoreState(const std::filesystem::path& stick, const std::string& sha256, const std::filesystem::path& state) {
  const auto found = HashOf(stick / "restore.backup");
  if (!found) return found.error();
  if (*found != sha256) {
    return MakeError(Reason::kConfigInvalid,
                     "restore.backup on the stick is not the one of the configuration: its SHA-256 is " + *found);
  }
  const auto ran = RunProgram(CompanionProgram("dkimctl"),
                              {"backup", "restore", (stick / "restore.backup").string(), "--key",
                               (stick / "restore.key").string(), "--state", state.string()},
                              {}, kLimit);
  if (!ran) return ran.error();
  if (ran->exit_code == 0) return Ok();
  std::string why = ran->err.empty() ? ran->out : ran->err;
  while (why.ends_with('\n')) why.pop_back();
  return MakeError(Reason::kConfigInvalid, "the backup was not restored: " + why);
}

}  // namespace hallmark::provision
