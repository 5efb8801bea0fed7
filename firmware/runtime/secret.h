#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark {

// A secret in memory of its own: locked against swapping, left out of core dumps, wiped when it goes. It has no way to
// a log or an error: only view() shows it, to the one call that needs it. Move-only.
class SecretString {
 public:
  static constexpr std::size_t kCapacity = 4096;

  // kIoFailed when the memory cannot be had or locked.
  static Result<SecretString> Create(std::string_view secret);

  SecretString(SecretString&& other) noexcept;
  SecretString& operator=(SecretString&& other) noexcept;
  ~SecretString();

  std::string_view view() const { return {page_, size_}; }

 private:
  friend Result<SecretString> ReadSecretFile(const std::filesystem::path& path);
  friend Result<SecretString> ReadWholeSecretFile(const std::filesystem::path& path);
  SecretString(char* page, std::size_t size) : page_(page), size_(size) {}
  static Result<SecretString> Allocate();
  static Result<SecretString> Read(const std::filesystem::path& path);
  char* page_ = nullptr;
  std::size_t size_ = 0;
};

// The first line of a file, read straight into locked memory. Refuses an empty one, one over 1,024 octets, and one that
// other users can read (kConfigInvalid).
Result<SecretString> ReadSecretFile(const std::filesystem::path& path);

// A token's PIN. Refuses also one with a blank at either end or a byte order mark before it (kConfigInvalid), which
// editors and shells leave: a wrong PIN may cost the token.
Result<SecretString> ReadPinFile(const std::filesystem::path& path);

// The same as ReadSecretFile with every line, for a secret that comes with something around it; refuses one over 4,095
// octets.
Result<SecretString> ReadWholeSecretFile(const std::filesystem::path& path);

}  // namespace hallmark
