#include "firmware/provision/tls_stream.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "firmware/runtime/openssl_reason.h"

namespace hallmark::provision {
namespace {

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

Error Failed(const std::string& what) { return MakeError(Reason::kIoFailed, what); }

Error TlsError(const std::string& what) { return Failed(what + OpenSslReason()); }

Context MakeContext(const SSL_METHOD* method) {
  Context context(SSL_CTX_new(method), &SSL_CTX_free);
  if (!context) return context;
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  // A read that goes on by itself after each message that holds no data would look at no deadline while they keep
  // coming.
  SSL_CTX_clear_mode(context.get(), SSL_MODE_AUTO_RETRY);
  return context;
}

// Waits until `fd` is ready for `events`; false when the time is over or `stop` can be read.
Status WaitFor(int fd, short events, TlsStream::Deadline deadline, int stop) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return MakeError(Reason::kDeadlineExceeded, "the other end is too slow");
    pollfd fds[] = {{fd, events, 0}, {stop, POLLIN, 0}};
    const int ready = ::poll(fds, 2, static_cast<int>(left));
    if (ready < 0 && errno != EINTR) return Failed(std::string("cannot wait: ") + std::strerror(errno));
    if (fds[1].revents != 0) return MakeError(Reason::kCancelled, "stopped");
    if (ready > 0 && fds[0].revents != 0) return Ok();
  }
}

Result<FileDescriptor> ConnectTo(const addrinfo& address, TlsStream::Deadline deadline) {
  FileDescriptor socket(
      ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  if (!socket) return Failed(std::strerror(errno));
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS) return Failed(std::strerror(errno));
  if (const Status ready = WaitFor(socket.get(), POLLOUT, deadline, -1); !ready) return ready.error();
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
    return Failed(std::strerror(error));
  }
  return socket;
}

}  // namespace

Result<TlsStream> TlsStream::Begin(FileDescriptor socket, SSL_CTX* context, Deadline deadline, int stop) {
  std::unique_ptr<SSL, FreeSsl> ssl(SSL_new(context));
  if (!ssl || SSL_set_fd(ssl.get(), socket.get()) != 1) return TlsError("no TLS");
  return TlsStream(std::move(socket), std::move(ssl), deadline, stop);
}

Result<TlsStream> TlsStream::Accept(FileDescriptor socket, const Identity& identity, Deadline deadline, int stop) {
  const Context context = MakeContext(TLS_server_method());
  if (!context || SSL_CTX_use_certificate(context.get(), identity.certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), identity.key.get()) != 1) {
    return TlsError("no TLS");
  }
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) return Failed(std::strerror(errno));
  auto stream = Begin(std::move(socket), context.get(), deadline, stop);
  if (!stream) return stream;
  if (const Status shaken = stream->Handshake(&SSL_accept); !shaken) return shaken.error();
  return stream;
}

Result<TlsStream> TlsStream::Connect(const std::string& server, Deadline deadline) {
  const std::size_t colon = server.rfind(':');
  if (colon == std::string::npos) return MakeError(Reason::kInvalidArgument, server + ": expected ADDRESS:PORT");
  std::string host = server.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), server.c_str() + colon + 1, &hints, &found);
  if (error != 0) return Failed(server + ": " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  Result<FileDescriptor> socket = Failed("no address");
  for (const addrinfo* address = found; address != nullptr && !socket; address = address->ai_next) {
    socket = ConnectTo(*address, deadline);
  }
  if (!socket) return Failed(server + ": cannot be reached: " + socket.error().message);
  const Context context = MakeContext(TLS_client_method());
  if (!context) return TlsError("no TLS");
  auto stream = Begin(std::move(*socket), context.get(), deadline, -1);
  if (!stream) return stream;
  if (const Status shaken = stream->Handshake(&SSL_connect); !shaken) return shaken.error();
  return stream;
}

Status TlsStream::Handshake(int (*step)(SSL*)) {
  while (true) {
    ERR_clear_error();
    const int result = step(ssl_.get());
    if (result == 1) return Ok();
    if (const Status ready = Await(result); !ready) return ready;
  }
}

Status TlsStream::Await(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return WaitFor(socket_.get(), POLLIN, deadline_, stop_);
    case SSL_ERROR_WANT_WRITE: return WaitFor(socket_.get(), POLLOUT, deadline_, stop_);
    case SSL_ERROR_ZERO_RETURN: return Failed("the other end closed the connection");
    default: return TlsError("the connection broke");
  }
}

std::string TlsStream::PeerFingerprint() const {
  const X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  return certificate == nullptr ? "" : Fingerprint(certificate);
}

Result<std::string> TlsStream::Read(std::size_t size) {
  std::string octets(size, '\0');
  std::size_t at = 0;
  while (at < size) {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_.get(), octets.data() + at, size - at, &count);
    if (result == 1) {
      at += count;
    } else if (const Status ready = Await(result); !ready) {
      return ready.error();
    }
  }
  return octets;
}

Result<std::string> TlsStream::ReadLine(std::size_t most) {
  std::string line;
  while (line.size() <= most) {
    const auto octet = Read(1);
    if (!octet) return octet.error();
    if (*octet == "\n") return line;
    line += *octet;
  }
  return Failed("the other end does not speak this protocol");
}

Status TlsStream::Write(std::string_view octets) {
  while (!octets.empty()) {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_write_ex(ssl_.get(), octets.data(), octets.size(), &count);
    if (result == 1) {
      octets.remove_prefix(count);
    } else if (const Status ready = Await(result); !ready) {
      return ready;
    }
  }
  return Ok();
}

}  // namespace hallmark::provision
