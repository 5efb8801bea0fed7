#include "signerd/service/memory_guard.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "firmware/runtime/log.h"
#include "firmware/runtime/pause.h"

namespace hallmark::service {
namespace {

// A peer on a fast link fills 100 MiB in 200 ms.
constexpr std::chrono::milliseconds kInterval{50};
constexpr std::size_t kLooks = 5;                     // that are kept: who sends most is told from the last 200 ms
constexpr int kLooksBetween = 40;                     // from one connection's end to the next one's, at least
constexpr std::uint64_t kMuch = 16 << 10;             // octets of these 200 ms
constexpr std::size_t kConnectionOctets = 128 << 10;  // gRPC's and OpenSSL's share of one
constexpr std::size_t kWorthTrimming = 64 << 20;

std::size_t Resident() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t Allocated() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

// "192.0.2.1:50222"; empty when it is no TCP socket that was accepted on the port.
std::string PeerOn(int descriptor, std::uint16_t port) {
  sockaddr_storage own{}, peer{};
  socklen_t own_size = sizeof own, peer_size = sizeof peer;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 ||
      ::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) {
    return "";
  }
  const auto port_of = [](const sockaddr_storage& address) -> std::uint16_t {
    if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
    if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    return 0;
  };
  if (port_of(own) != port) return "";
  char text[INET6_ADDRSTRLEN] = "";
  const void* where = peer.ss_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(peer).sin_addr)
                          : &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
  ::inet_ntop(peer.ss_family, where, text, sizeof text);
  return std::string(text) + ":" + std::to_string(port_of(peer));
}

}  // namespace

MemoryGuard::MemoryGuard(std::uint16_t port, std::size_t most_octets)
    : port_(port),
      most_octets_(most_octets),
      at_start_(Allocated()),
      thread_([this](const std::stop_token& stop) { Watch(stop); }) {}

void MemoryGuard::Watch(const std::stop_token& stop) {
  do {
    Look();
  } while (Pause(stop, kInterval));
}

void MemoryGuard::Look() {
  ++looks_since_;
  const std::size_t resident = Resident();
  if (resident < at_start_ + most_octets_ / 2) {  // the usual way: nothing else is asked for
    looks_.clear();
    ended_at_.reset();
    return;
  }
  const std::size_t allocated = Allocated();
  if (allocated < at_start_ + most_octets_ / 2) {
    looks_.clear();
  } else {
    looks_.push_back(Accepted());
    if (looks_.size() > kLooks) looks_.pop_front();
  }
  if (looks_.empty() || allocated < at_start_ + most_octets_ + looks_.back().size() * kConnectionOctets) {
    ended_at_.reset();
    // What was freed stays with the allocator, in pieces, until it is told otherwise.
    if (resident > std::max(at_start_ + most_octets_, allocated + kWorthTrimming) && looks_since_ >= kLooksBetween) {
      ::malloc_trim(0);
      looks_since_ = 0;
    }
    return;
  }
  if (looks_.size() > 1 && looks_since_ >= (ended_at_ ? kLooksBetween : 0) && allocated > ended_at_.value_or(0)) {
    EndBusiest(allocated);
  }
}

void MemoryGuard::EndBusiest(std::size_t allocated) {
  const std::pair<const std::string, Connection>* busiest = nullptr;
  std::uint64_t most = kMuch;
  for (const auto& entry : looks_.back()) {
    const auto before = looks_.front().find(entry.first);
    const std::uint64_t sent = entry.second.read - (before == looks_.front().end() ? 0 : before->second.read);
    if (sent > most) {
      most = sent;
      busiest = &entry;
    }
  }
  // It may have been closed meanwhile, and its descriptor be another's.
  if (busiest == nullptr || PeerOn(busiest->second.descriptor, port_) != busiest->first) return;
  ::shutdown(busiest->second.descriptor, SHUT_RDWR);
  log::warn("the connection from {} is ended: {} MiB are allocated, and most was read from it of late: {} KiB in {} ms",
            busiest->first, allocated >> 20, most >> 10, (looks_.size() - 1) * kInterval.count());
  ended_at_ = allocated;
  looks_since_ = 0;
}

MemoryGuard::Connections MemoryGuard::Accepted() const {
  Connections accepted;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    Connection connection;
    std::from_chars(name.data(), name.data() + name.size(), connection.descriptor);
    const std::string peer = PeerOn(connection.descriptor, port_);
    if (peer.empty()) continue;
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(connection.descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    // What still lies in the kernel has cost nothing yet.
    int unread = 0;
    if (::ioctl(connection.descriptor, FIONREAD, &unread) != 0) continue;
    connection.read = info.tcpi_bytes_received - static_cast<std::uint64_t>(unread);
    accepted.emplace(peer, connection);
  }
  return accepted;
}

}  // namespace hallmark::service
