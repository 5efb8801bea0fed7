#include "signerd/service/acceptor.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"
#include "signerd/service/accepted.h"
#include "signerd/service/peer_address.h"

namespace hallmark::service {
namespace {

constexpr std::chrono::milliseconds kBreath{100};  // when the process has no descriptor left, or the kernel no memory
constexpr std::chrono::minutes kSaid{5};
constexpr unsigned kUnacknowledgedMs = 20'000;  // then the peer is gone: as long as a keepalive's answer may take

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

// Null when the name is unknown.
Addresses Resolve(std::string host, const std::string& port) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) found = nullptr;
  return {found, &::freeaddrinfo};
}

// Empty when it cannot be bound; errno says why.
FileDescriptor Listen(const addrinfo& address) {
  FileDescriptor listener(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1, off = 0;
  // Connections inherit both of TCP's.
  if (!listener ||
      (address.ai_family == AF_INET6 &&
       ::setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::setsockopt(listener.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      ::setsockopt(listener.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof kUnacknowledgedMs) != 0 ||
      ::bind(listener.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(listener.get(), SOMAXCONN) != 0) {
    return {};
  }
  return listener;
}

// sin_port and sin6_port lie at the same place.
in_port_t& Port(sockaddr* address) { return reinterpret_cast<sockaddr_in*>(address)->sin_port; }

// Of those that are accepted on the port.
ConnectionLimit::Counts CountOn(std::uint16_t port) {
  ConnectionLimit::Counts counts;
  for (const auto& [id, connection] : AcceptedOn(port)) ++counts[connection.network];
  return counts;
}

void Reset(FileDescriptor connection) {
  const linger at_once{1, 0};
  (void)::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::Bind(const std::string& listen) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor);
  acceptor->wake_ = FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!acceptor->wake_) return MakeError(Reason::kIoFailed, std::string("no event: ") + std::strerror(errno));
  const std::size_t colon = listen.rfind(':');
  const std::string host = listen.substr(0, colon), port = listen.substr(colon + 1);
  int failed = acceptor->BindAll(host == "0.0.0.0" ? "::" : host, port);
  if (failed == EAFNOSUPPORT || failed == EADDRNOTAVAIL) failed = acceptor->BindAll(host, port);  // there is no IPv6
  if (failed != 0) {
    return MakeError(Reason::kConfigInvalid, "cannot listen on " + listen + " (" + std::strerror(failed) +
                                                 "): is it in use, or not an address of this machine?");
  }
  return acceptor;
}

int Acceptor::BindAll(const std::string& host, const std::string& port) {
  const Addresses addresses = Resolve(host, port);
  int failed = EADDRNOTAVAIL;
  for (addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    // A name's further addresses get the port that the first one was given.
    if (port_ != 0) Port(address->ai_addr) = htons(port_);
    FileDescriptor listener = Listen(*address);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (!listener || ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
      failed = errno;
      // localhost is ::1 too, where there may be no IPv6.
      if (failed == EADDRNOTAVAIL || failed == EAFNOSUPPORT) continue;
      return failed;
    }
    port_ = ntohs(Port(reinterpret_cast<sockaddr*>(&bound)));
    listeners_.push_back(std::move(listener));
  }
  return listeners_.empty() ? failed : 0;
}

void Acceptor::Start(Take take, const KeptOut& kept_out, std::size_t most) {
  thread_ = std::jthread([this, take = std::move(take), &kept_out, most](const std::stop_token& stop) {
    Rules rules{take, kept_out, ConnectionLimit(most, [port = port_] { return CountOn(port); })};
    Run(stop, rules);
  });
}

void Acceptor::Hold(bool held) {
  if (held_.exchange(held) != held) (void)::eventfd_write(wake_.get(), 1);
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  (void)::eventfd_write(wake_.get(), 1);
  thread_.join();
  listeners_.clear();
}

void Acceptor::Run(const std::stop_token& stop, Rules& rules) {
  std::vector<pollfd> ready{{wake_.get(), POLLIN, 0}};
  for (const FileDescriptor& listener : listeners_) ready.push_back({listener.get(), POLLIN, 0});
  while (!stop.stop_requested()) {
    (void)::poll(ready.data(), held_ ? 1 : ready.size(), -1);
    eventfd_t told = 0;
    (void)::eventfd_read(wake_.get(), &told);
    bool all = true;
    for (std::size_t i = 1; i < ready.size() && !held_; ++i) all = TakeAll(ready[i].fd, rules) && all;
    if (!all) Pause(stop, kBreath);
  }
}

bool Acceptor::TakeAll(int listener, Rules& rules) {
  while (!held_) {
    FileDescriptor connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection) {
      // Anything else than these is told of the one connection, as accept(2) says.
      if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return true;
      if (!std::exchange(failing_, true)) log::error("connections cannot be taken: {}", std::strerror(errno));
      return false;
    }
    if (std::exchange(failing_, false)) log::info("connections can be taken again");
    const auto peer = PeerAddressOf(connection.get());
    if (!peer || rules.kept_out.Has(peer->network, std::chrono::steady_clock::now()) ||
        !HasRoom(peer->network, rules.limit)) {
      Reset(std::move(connection));
    } else {
      rules.take(std::move(connection));
    }
  }
  return true;
}

bool Acceptor::HasRoom(const std::string& network, ConnectionLimit& limit) {
  const auto now = std::chrono::steady_clock::now();
  if (limit.Take(network, now)) return true;
  if (said_ && now < *said_ + kSaid) return false;
  said_ = now;
  log::warn(
      "more connections from {} are refused: it has {} of the {} that are open on port {}, and {} is the most; others "
      "may be refused too, and it is said once in {} minutes",
      network, limit.Of(network), limit.all(), port_, limit.most(), kSaid.count());
  return false;
}

}  // namespace hallmark::service
