#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"
#include "signerd/service/connection_limit.h"
#include "signerd/service/kept_out.h"

namespace hallmark::service {

// Listens at an address and hands its connections over, but for those from networks that are kept out, or have as many
// as they may: they are reset at once, before anything was read from them.
class Acceptor {
 public:
  using Take = std::function<void(FileDescriptor connection)>;

  // `listen`: "HOST:PORT", IPv6 in brackets; port 0 takes a free one. Either wildcard takes IPv4 and IPv6. Whoever
  // connects waits for Start. kConfigInvalid when the address cannot be used.
  static Result<std::unique_ptr<Acceptor>> Bind(const std::string& listen);
  ~Acceptor() { Stop(); }

  std::uint16_t port() const { return port_; }
  // Once. `take` is called from a thread of its own, with descriptors that do not block; `kept_out` lives longer.
  // `most`: connections at once, as ConnectionLimit shares them out.
  void Start(Take take, const KeptOut& kept_out, std::size_t most);
  // Whether whoever connects waits, in the kernel's queue, until he is told otherwise. Any thread.
  void Hold(bool held);
  // Whoever connects from now on is refused. `take` has been called for the last time when it returns. Idempotent.
  void Stop();

 private:
  Acceptor() = default;
  // Zero, or errno.
  int BindAll(const std::string& host, const std::string& port);
  struct Rules {
    const Take take;
    const KeptOut& kept_out;
    ConnectionLimit limit;
  };
  void Run(const std::stop_token& stop, Rules& rules);
  // False when there may be connections that could not be taken.
  bool TakeAll(int listener, Rules& rules);
  bool HasRoom(const std::string& network, ConnectionLimit& limit);
  std::vector<FileDescriptor> listeners_;
  FileDescriptor wake_;  // readable: the thread is to look at what it was told
  std::uint16_t port_ = 0;
  std::atomic<bool> held_{false};
  // Of the thread.
  bool failing_ = false;
  std::optional<std::chrono::steady_clock::time_point> said_;  // when it was, that connections are refused
  std::jthread thread_;                                        // last: it uses the others
};

}  // namespace hallmark::service
