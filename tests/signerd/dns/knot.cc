#include "knot.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "signerd/dns/exchange.h"
#include "signerd/dns/message.h"

extern char** environ;

namespace {

using namespace hallmark;
using namespace hallmark::dns;

constexpr auto kStart = std::chrono::seconds(60);

bool IsFree(const std::string& address, std::uint16_t port, int type) {
  const int fd = ::socket(AF_INET, type | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  ::close(fd);
  return bound;
}

// Whether the server has the zone: an answer with authority that holds its SOA, signed where it has to be.
bool Serves(const Nameserver& server, const KnotZone& zone) {
  if (zone.never_loads) return true;
  const auto name = ParseName(zone.name);
  const ldns_rr_type type = zone.sign ? LDNS_RR_TYPE_DNSKEY : LDNS_RR_TYPE_SOA;
  const Question question{server, Question::Transport::kTcp, MakeQuery(name->get(), type, Asking::kServer)};
  const auto wire = Exchange({&question, 1}, std::chrono::milliseconds(500), 1).front();
  if (!wire) return false;
  const auto answer = ParseUsableAnswer(question.message, *wire);
  return answer && ldns_pkt_aa(answer->get()) && ldns_pkt_ancount(answer->get()) > 0;
}

std::string ListOf(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return "[" + text + "]";
}

}  // namespace

std::uint16_t Knot::FreePort() {
  for (unsigned attempt = 0; attempt < 200; ++attempt) {
    const auto port =
        static_cast<std::uint16_t>(20'000 + (static_cast<unsigned>(::getpid()) * 37 + attempt * 101) % 12'000);
    bool free = true;
    for (int host = 1; host <= 9 && free; ++host) {
      const std::string address = "127.0.1." + std::to_string(host);
      free = IsFree(address, port, SOCK_STREAM) && IsFree(address, port, SOCK_DGRAM);
    }
    if (free) return port;
  }
  return 0;
}

std::unique_ptr<Knot> Knot::Start(const std::string& address, std::uint16_t port, std::vector<KnotZone> zones,
                                  const std::string& clock) {
  std::unique_ptr<Knot> knot(new Knot());
  std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-knot.XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return nullptr;
  knot->folder_ = pattern;
  knot->address_ = address;
  knot->port_ = port;
  knot->zones_ = std::move(zones);
  knot->Write();
  if (!knot->Spawn(clock) || !knot->WaitUntilServing()) return nullptr;
  return knot;
}

void Knot::Write() const {
  std::ofstream conf(folder_ / "knot.conf");
  conf << "server:\n  rundir: " << folder_ << "\n  listen: " << address_ << "@" << port_
       << "\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
       << "database:\n  storage: " << folder_ << "\n"
       << "log:\n  - target: " << (folder_ / "knot.log") << "\n    any: info\n"
       << "key:\n";
  for (const KnotKey& key : {kWriter256, kWriter512, kReader, kNarrow}) {
    conf << "  - id: " << key.name << "\n    algorithm: " << key.algorithm << "\n    secret: " << key.secret << "\n";
  }
  conf << "remote:\n";
  for (int host = 1; host <= 9; ++host) {
    conf << "  - id: r" << host << "\n    address: 127.0.1." << host << "@" << port_ << "\n    via: " << address_
         << "\n";
  }
  conf << "acl:\n  - id: write\n    key: [writer256, writer512]\n    action: update\n"
       << "  - id: narrow\n    key: narrow\n    action: update\n    update-type: [TXT]\n    update-owner: name\n"
       << "    update-owner-match: sub\n    update-owner-name: [_domainkey]\n"
       << "  - id: copy\n    address: 127.0.0.0/8\n    action: [transfer, notify]\n"
       << "policy:\n  - id: nsec\n    algorithm: ecdsap256sha256\n"
       << "  - id: nsec3\n    algorithm: ecdsap256sha256\n    nsec3: on\n    nsec3-iterations: 0\n"
       << "  - id: optout\n    algorithm: ecdsap256sha256\n    nsec3: on\n    nsec3-iterations: 5\n    nsec3-opt-out: "
          "on\n"
       << "template:\n  - id: default\n    storage: " << folder_
       << "\n    file: \"%s.zone\"\n    acl: [write, narrow, copy]\n"
       << "zone:\n";
  const auto remote = [](const std::string& address) { return "r" + address.substr(address.rfind('.') + 1); };
  for (const KnotZone& zone : zones_) {
    conf << "  - domain: " << zone.name << "\n";
    if (!zone.primary.empty()) conf << "    master: " << remote(zone.primary) << "\n";
    std::vector<std::string> notified;
    for (const std::string& address : zone.secondaries) notified.push_back(remote(address));
    if (!notified.empty()) conf << "    notify: " << ListOf(notified) << "\n";
    if (zone.sign) conf << "    dnssec-signing: on\n    dnssec-policy: " << zone.denial << "\n";
    std::ofstream file;
    if (zone.primary.empty()) file.open(folder_ / (zone.name + ".zone"));
    if (!zone.file.empty()) {
      file << zone.file;
    } else {
      file << "$TTL 300\n@ 3600 SOA ns.invalid. admin.invalid. 1 3600 600 86400 1800\n" << zone.records;
    }
  }
}

bool Knot::Spawn(const std::string& clock) {
  const std::string config = (folder_ / "knot.conf").string();
  // It ends with the test program, however that ends.
  const char* arguments[] = {"/usr/bin/setpriv", "--pdeathsig", "KILL", "/usr/sbin/knotd", "-c",
                             config.c_str(),     nullptr};
  // The loader puts the machine's library folder in the place of $LIB.
  std::string preload = "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1", faketime = "FAKETIME=" + clock;
  std::string monotonic = "FAKETIME_DONT_FAKE_MONOTONIC=1";
  char* wrong_clock[] = {preload.data(), faketime.data(), monotonic.data(), nullptr};
  return ::posix_spawn(&pid_, arguments[0], nullptr, nullptr, const_cast<char**>(arguments),
                       clock.empty() ? environ : wrong_clock) == 0;
}

bool Knot::WaitUntilServing() {
  const auto deadline = std::chrono::steady_clock::now() + kStart;
  const Nameserver server{address_, port_};
  while (std::chrono::steady_clock::now() < deadline) {
    if (std::all_of(zones_.begin(), zones_.end(), [&](const KnotZone& zone) { return Serves(server, zone); }))
      return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

std::string Knot::Run(std::vector<std::string> command) const {
  const std::filesystem::path output = folder_ / "output";
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (failed != 0 || ::waitpid(pid, &status, 0) != pid || status != 0) return "";
  std::ifstream file(output);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Knot::Ds(const std::string& zone) const {
  return Run({"/usr/sbin/keymgr", "-c", (folder_ / "knot.conf").string(), zone, "ds"});
}

std::string Knot::ZoneFile(const std::string& zone) const {
  const std::string config = (folder_ / "knot.conf").string();
  Run({"/usr/sbin/knotc", "-b", "-f", "-c", config, "zone-flush", zone});
  std::ifstream file(folder_ / (zone + ".zone"));
  return {std::istreambuf_iterator<char>(file), {}};
}

Knot::~Knot() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}
