#include "tests/hsm/support/tokend_client.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <stdexcept>

namespace hallmark::test {
namespace {

constexpr int kPatienceMilliseconds = 60000;

}  // namespace

TokendClient::TokendClient(const HsmEnvironment& environment, const Options& options) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) throw std::runtime_error("no socket pair");
  link_ = FileDescriptor(sockets[0]);
  const FileDescriptor theirs(sockets[1]);
  std::vector<std::string> arguments = {
      "/usr/bin/setpriv",  // it ends with the test program, however that ends
      "--pdeathsig",
      "KILL",
      TokendProgram().string(),
      "serve",
      "--fd",
      "3",
      "--module",
      (options.faulty ? environment.faulty_module() : environment.softhsm_module()).string(),
      "--token-uri",
      options.uri.empty() ? environment.uri() : options.uri,
      "--sessions",
      std::to_string(options.sessions)};
  arguments.insert(arguments.end(), options.more.begin(), options.more.end());
  std::vector<std::string> variables = environment.Variables();
  variables.insert(variables.end(), options.variables.begin(), options.variables.end());
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (std::string& string : strings) out.push_back(string.data());
    out.push_back(nullptr);
    return out;
  };
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // Through a higher number, because dup2 of 3 onto itself would leave it closed on exec.
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), 100);
  ::posix_spawn_file_actions_adddup2(&actions, 100, 3);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 4);
  const int failed = ::posix_spawn(&pid_, arguments[0].c_str(), &actions, nullptr, pointers(arguments).data(),
                                   pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start tokend");
}

TokendClient::~TokendClient() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void TokendClient::Send(const link::Frame& frame) {
  const auto octets = link::Encode(frame);
  if (!octets) throw std::runtime_error(octets.error().message);
  SendOctets(*octets);
}

void TokendClient::SendOctets(ByteView octets) {
  while (!octets.empty()) {
    const ssize_t count = ::send(link_.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
    if (count <= 0) throw std::runtime_error("tokend does not read");
    octets = octets.subspan(static_cast<std::size_t>(count));
  }
}

std::optional<link::Frame> TokendClient::Receive() {
  while (true) {
    auto frame = decoder_.Next();
    if (!frame) throw std::runtime_error(frame.error().message);
    if (frame->has_value()) {
      if (const auto* status = std::get_if<link::TokenStatus>(&**frame)) status_ = *status;
      return std::move(**frame);
    }
    pollfd ready = {link_.get(), POLLIN, 0};
    if (::poll(&ready, 1, kPatienceMilliseconds) <= 0) throw std::runtime_error("tokend says nothing");
    std::array<std::uint8_t, 65536> buffer;
    const ssize_t count = ::recv(link_.get(), buffer.data(), buffer.size(), 0);
    if (count <= 0) return std::nullopt;
    decoder_.Push(ByteView(buffer).first(static_cast<std::size_t>(count)));
  }
}

link::TokenStatus TokendClient::AwaitState(link::TokenState state) {
  while (!status_ || status_->state != state) {
    const auto frame = Receive();
    if (!frame) throw std::runtime_error("tokend closed the link");
  }
  return *status_;
}

link::KeyReply TokendClient::Generate(link::KeyType type, unsigned bits, const Bytes& cka_id) {
  Send(link::GenerateKey{next_id_++, type, bits, cka_id, "test key"});
  return Await<link::KeyReply>();
}

link::KeyReply TokendClient::Destroy(const Bytes& cka_id, const Bytes& spki) {
  Send(link::DestroyKey{next_id_++, cka_id, spki});
  return Await<link::KeyReply>();
}

void TokendClient::Define(std::uint32_t key_ref, const link::KeyReply& key, const Bytes& cka_id) {
  Send(link::DefineKey{key_ref, key.type, cka_id, key.spki});
}

std::map<std::uint64_t, link::SignOutcome> TokendClient::Sign(const link::SignBatch& batch) {
  Send(batch);
  std::map<std::uint64_t, link::SignOutcome> outcomes;
  while (outcomes.size() < batch.items.size()) {
    for (auto& outcome : Await<link::SignResults>().outcomes) {
      if (!outcomes.emplace(outcome.id, outcome).second) throw std::runtime_error("an item was answered twice");
    }
  }
  return outcomes;
}

link::SignOutcome TokendClient::Sign(std::uint32_t key_ref, const Bytes& digest, std::uint32_t timeout_ms) {
  const std::uint64_t id = next_id_++;
  return Sign(link::SignBatch{timeout_ms, {{id, key_ref, link::InputKind::kDigest, digest}}}).at(id);
}

int TokendClient::Wait() {
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace hallmark::test
