#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "firmware/runtime/file.h"
#include "hsm/link/frame.h"
#include "tests/hsm/support/environment.h"

namespace hallmark::test {

// A `tokend serve` process and signerd's end of its link, one frame at a time. Single-threaded. Waiting ends with an
// exception after a minute: only a broken tokend gets there.
class TokendClient {
 public:
  struct Options {
    unsigned sessions = 2;
    bool faulty = false;                 // through the faulty module
    std::string uri;                     // default: that of the environment
    std::vector<std::string> more;       // arguments
    std::vector<std::string> variables;  // beside those of the environment
  };
  explicit TokendClient(const HsmEnvironment& environment) : TokendClient(environment, Options{}) {}
  TokendClient(const HsmEnvironment& environment, const Options& options);
  ~TokendClient();
  TokendClient(const TokendClient&) = delete;
  TokendClient& operator=(const TokendClient&) = delete;

  void Send(const link::Frame& frame);
  // What need not be a frame.
  void SendOctets(ByteView octets);
  // The next frame; nothing when the link closed.
  std::optional<link::Frame> Receive();
  // Receives until a frame of this type comes; TokenStatus frames on the way are remembered, what a key call does on
  // the way is passed by, others are an error.
  template <class T>
  T Await() {
    while (true) {
      auto frame = Receive();
      if (!frame) throw std::runtime_error("tokend closed the link");
      if (auto* wanted = std::get_if<T>(&*frame)) return std::move(*wanted);
      const bool expected =
          std::holds_alternative<link::TokenStatus>(*frame) || std::holds_alternative<link::KeyCallBegun>(*frame);
      if (!expected) throw std::runtime_error("an unexpected frame");
    }
  }
  // Receives until the token is in this state (perhaps it is already); gives the status.
  link::TokenStatus AwaitState(link::TokenState state);

  // The public part of a new key, which the token made.
  link::KeyReply Generate(link::KeyType type, unsigned bits, const Bytes& cka_id);
  link::KeyReply Destroy(const Bytes& cka_id, const Bytes& spki);
  void Define(std::uint32_t key_ref, const link::KeyReply& key, const Bytes& cka_id);
  // Sends one batch and waits for all its outcomes, by id.
  std::map<std::uint64_t, link::SignOutcome> Sign(const link::SignBatch& batch);
  // One digest.
  link::SignOutcome Sign(std::uint32_t key_ref, const Bytes& digest, std::uint32_t timeout_ms = 30000);

  void CloseLink() { link_.Reset(); }
  // The exit code, as in Ran.
  int Wait();
  pid_t pid() const { return pid_; }
  const std::optional<link::TokenStatus>& status() const { return status_; }

 private:
  FileDescriptor link_;
  pid_t pid_ = -1;
  link::Decoder decoder_;
  std::optional<link::TokenStatus> status_;
  std::uint64_t next_id_ = 1;
};

}  // namespace hallmark::test
