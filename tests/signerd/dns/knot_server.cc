#include "knot_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

extern char** environ;

namespace {

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A port that is free for TCP; 0 when there is none.
std::uint16_t FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

bool Accepts(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
}

constexpr char kStartOfZone[] = "$TTL 60\n@ SOA ns admin 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n";

}  // namespace

std::unique_ptr<KnotServer> KnotServer::Start(const std::string& zone) {
  std::unique_ptr<KnotServer> server(new KnotServer());
  std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-knot.XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return nullptr;
  server->folder_ = pattern;
  server->port_ = FreePort();
  if (server->port_ == 0 || !server->Write(zone) || !server->Spawn()) return nullptr;
  for (int attempt = 0; attempt < 600; ++attempt) {
    if (Accepts(server->port_)) return server;
    int status = 0;
    if (::waitpid(server->pid_, &status, WNOHANG) == server->pid_) {
      server->pid_ = -1;
      return nullptr;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return nullptr;
}

bool KnotServer::Write(const std::string& zone) const {
  std::ofstream(folder_ / "example.test.zone") << kStartOfZone << zone;
  std::ofstream(folder_ / "other.test.zone") << kStartOfZone << "target TXT \"elsewhere\"\n";
  std::ofstream conf(folder_ / "knot.conf");
  conf << "server:\n    rundir: " << folder_ << "\n    listen: 127.0.0.1@" << port_
       << "\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
       << "database:\n    storage: " << folder_ << "\n"
       << "log:\n  - target: stderr\n    any: critical\n"
       << "template:\n  - id: default\n    storage: " << folder_ << "\n    file: \"%s.zone\"\n"
       << "zone:\n  - domain: example.test\n  - domain: other.test\n  - domain: broken.test\n";
  return conf.good();
}

bool KnotServer::Spawn() {
  const std::string config = (folder_ / "knot.conf").string();
  const char* arguments[] = {"/usr/sbin/knotd", "-c", config.c_str(), nullptr};
  return ::posix_spawn(&pid_, arguments[0], nullptr, nullptr, const_cast<char**>(arguments), environ) == 0;
}

KnotServer::~KnotServer() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}
