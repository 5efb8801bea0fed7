#include "firmware/runtime/secret.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "firmware/runtime/file.h"

namespace hallmark {
namespace {

constexpr std::size_t kMaxSecret = 1024;

}  // namespace

Result<SecretString> SecretString::Allocate() {
  void* page = ::mmap(nullptr, kCapacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return MakeError(Reason::kIoFailed, "no memory for a secret");
  if (::mlock(page, kCapacity) != 0 || ::madvise(page, kCapacity, MADV_DONTDUMP) != 0) {
    ::munmap(page, kCapacity);
    return MakeError(Reason::kIoFailed,
                     "cannot lock memory for a secret: raise the limit of locked memory (ulimit -l)");
  }
  return SecretString(static_cast<char*>(page), 0);
}

Result<SecretString> SecretString::Create(std::string_view secret) {
  if (secret.size() > kMaxSecret) return MakeError(Reason::kInvalidArgument, "a secret is longer than 1024 octets");
  auto allocated = Allocate();
  if (!allocated) return allocated;
  std::memcpy(allocated->page_, secret.data(), secret.size());
  allocated->size_ = secret.size();
  return allocated;
}

SecretString::SecretString(SecretString&& other) noexcept
    : page_(std::exchange(other.page_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretString& SecretString::operator=(SecretString&& other) noexcept {
  std::swap(page_, other.page_);
  std::swap(size_, other.size_);
  return *this;
}

SecretString::~SecretString() {
  if (page_ == nullptr) return;
  ::explicit_bzero(page_, kCapacity);
  ::munmap(page_, kCapacity);
}

// The file's content, as much as there is room for.
Result<SecretString> SecretString::Read(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return MakeError(errno == ENOENT ? Reason::kNotFound : Reason::kIoFailed,
                     path.string() + ": cannot open: " + std::strerror(errno));
  }
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return MakeError(Reason::kConfigInvalid, path.string() + ": not a regular file");
  }
  if ((facts.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    return MakeError(Reason::kConfigInvalid, path.string() + ": other users can reach this secret: chmod 600 it");
  }
  auto secret = Allocate();
  if (!secret) return secret;
  std::size_t& size = secret->size_;
  while (size < kCapacity) {
    const ssize_t count = ::read(file.get(), secret->page_ + size, kCapacity - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return MakeError(Reason::kIoFailed, path.string() + ": cannot read: " + std::strerror(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  return secret;
}

Result<SecretString> ReadWholeSecretFile(const std::filesystem::path& path) {
  auto secret = SecretString::Read(path);
  if (secret && secret->size_ == SecretString::kCapacity) {
    return MakeError(Reason::kConfigInvalid, path.string() + ": longer than 4095 octets");
  }
  return secret;
}

Result<SecretString> ReadSecretFile(const std::filesystem::path& path) {
  auto secret = SecretString::Read(path);
  if (!secret) return secret;
  const std::string_view content = secret->view();
  secret->size_ = content.substr(0, content.find_first_of("\r\n")).size();
  if (secret->size_ == 0) return MakeError(Reason::kConfigInvalid, path.string() + ": the first line is empty");
  if (secret->size_ > kMaxSecret) return MakeError(Reason::kConfigInvalid, path.string() + ": longer than 1024 octets");
  return secret;
}

Result<SecretString> ReadPinFile(const std::filesystem::path& path) {
  auto pin = ReadSecretFile(path);
  if (!pin) return pin;
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf", kWideMarks[] = {"\xff\xfe", "\xfe\xff"};
  const auto is_blank = [](char c) { return std::string_view(" \t\v\f\0", 5).find(c) != std::string_view::npos; };
  const std::string_view text = pin->view();
  const char* what = nullptr;
  if (text.starts_with(kByteOrderMark) || text.starts_with(kWideMarks[0]) || text.starts_with(kWideMarks[1])) {
    what = "begins with a byte order mark";
  } else if (is_blank(text.front()) || is_blank(text.back())) {
    what = "has a blank before or after the PIN";
  }
  if (what == nullptr) return pin;
  return MakeError(Reason::kConfigInvalid,
                   path.string() + ": the first line " + what + ": write the PIN alone into it");
}

}  // namespace hallmark
