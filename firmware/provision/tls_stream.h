#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string>

#include "firmware/runtime/file.h"
#include "firmware/runtime/issue_certificate.h"
#include "firmware/runtime/result.h"

namespace hallmark::provision {

// One TLS 1.3 connection with one deadline for all that is done on it: whoever is at the other end, and however slow,
// this end is over in time. Used by one thread.
class TlsStream {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // Takes over a connected socket as the server, with `identity`. `stop` (may be -1): a descriptor; once it can be
  // read, everything fails.
  static Result<TlsStream> Accept(FileDescriptor socket, const Identity& identity, Deadline deadline, int stop);
  // "ADDRESS:PORT" or "NAME:PORT". Whoever answers is taken: the caller compares fingerprint() before it says anything.
  static Result<TlsStream> Connect(const std::string& server, Deadline deadline);

  // Of the other end's certificate.
  std::string PeerFingerprint() const;
  void SetDeadline(Deadline deadline) { deadline_ = deadline; }
  // A line of at most `most` octets, without its end. kIoFailed, kDeadlineExceeded.
  Result<std::string> ReadLine(std::size_t most);
  Result<std::string> Read(std::size_t size);
  Status Write(std::string_view octets);

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  TlsStream(FileDescriptor socket, std::unique_ptr<SSL, FreeSsl> ssl, Deadline deadline, int stop)
      : socket_(std::move(socket)), ssl_(std::move(ssl)), deadline_(deadline), stop_(stop) {}
  static Result<TlsStream> Begin(FileDescriptor socket, SSL_CTX* context, Deadline deadline, int stop);
  Status Handshake(int (*step)(SSL*));
  // After a step gave `result`: waits until it can go on.
  Status Await(int result);

  FileDescriptor socket_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  Deadline deadline_;
  int stop_;
};

}  // namespace hallmark::provision
