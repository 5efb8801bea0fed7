#pragma once

#include <sys/types.h>

#include <filesystem>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"
#include "signerd/tokens/token_config.h"

namespace hallmark::tokens {

// A running tokend and this end of its link. Destroying it kills the process and reaps it: that is for one that hangs
// or is dead. One thread at a time.
class TokendProcess {
 public:
  // Starts `program` for `config`. kInternal when the operating system refuses.
  static Result<TokendProcess> Spawn(const std::filesystem::path& program, const TokenConfig& config);

  TokendProcess(TokendProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)), link_(std::move(other.link_)) {}
  TokendProcess& operator=(TokendProcess&&) = delete;
  ~TokendProcess();

  pid_t pid() const { return pid_; }
  // Waits for a tokend that ends by itself, since its link was closed; at most about a second, then it is killed. A
  // login that is cut off in the middle may cost the token (hsm/tokend/main.cc).
  void WaitForEnd();
  // The connected socket; the caller takes it.
  FileDescriptor TakeLink() { return std::move(link_); }

 private:
  TokendProcess(pid_t pid, FileDescriptor link) : pid_(pid), link_(std::move(link)) {}
  pid_t pid_;
  FileDescriptor link_;
};

}  // namespace hallmark::tokens
