#include "signerd/dns/exchange.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "firmware/runtime/file.h"

namespace hallmark::dns {
namespace {

using Deadline = std::chrono::steady_clock::time_point;
constexpr std::size_t kHeaderOctets = 12;
constexpr std::size_t kLengthOctets = 2;  // before each message over TCP (RFC 1035 section 4.2.2)

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<SocketAddress> ToSocketAddress(const Nameserver& server) {
  SocketAddress address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, server.address.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(server.port);
    std::memcpy(&address.storage, &v4, address.size = sizeof v4);
  } else if (::inet_pton(AF_INET6, server.address.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(server.port);
    std::memcpy(&address.storage, &v6, address.size = sizeof v6);
  } else {
    return std::nullopt;
  }
  return address;
}

// One question on a socket of its own, driven by poll(2).
class Conversation {
 public:
  explicit Conversation(const Question& question)
      : tcp_(question.transport == Question::Transport::kTcp), question_(question.message) {
    if (tcp_) {
      const std::size_t size = question_.size();
      out_ = {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
    }
    out_.insert(out_.end(), question_.begin(), question_.end());
    if (question_.size() < kHeaderOctets || question_.size() > 0xffff) {
      Fail("the question is no DNS message");
    } else {
      Connect(question.server);
    }
  }

  bool finished() const { return finished_; }
  Result<Bytes> Take() {
    if (!failure_.empty()) return MakeError(Reason::kDnsUnavailable, failure_);
    if (!finished_) return MakeError(Reason::kDnsUnavailable, "no answer in time");
    return std::move(in_);
  }
  pollfd Waits() const { return {socket_.get(), static_cast<short>(out_.empty() ? POLLIN : POLLOUT), 0}; }

  // The socket is ready for what it waits for, or has failed.
  void Continue() {
    if (!out_.empty()) return Send();
    return tcp_ ? ReceiveStream() : ReceiveDatagrams();
  }

 private:
  void Fail(const std::string& what) {
    failure_ = what;
    finished_ = true;
  }
  void FailWith(int code) { Fail(std::string(tcp_ ? "TCP: " : "UDP: ") + std::strerror(code)); }

  void Connect(const Nameserver& server) {
    const auto address = ToSocketAddress(server);
    if (!address) return Fail("\"" + server.address + "\" is no IP address");
    const int type = (tcp_ ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
    socket_ = FileDescriptor(::socket(address->storage.ss_family, type, 0));
    if (!socket_) return FailWith(errno);
    if (::connect(socket_.get(), address->get(), address->size) != 0 && errno != EINPROGRESS) FailWith(errno);
  }

  void Send() {
    const ssize_t sent = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return FailWith(errno);
    out_.erase(out_.begin(), out_.begin() + sent);
  }

  void ReceiveDatagrams() {
    Bytes datagram(0xffff);
    const ssize_t size = ::recv(socket_.get(), datagram.data(), datagram.size(), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) return FailWith(errno);
    datagram.resize(static_cast<std::size_t>(size));
    if (!IsAnswer(datagram)) return;  // A forger has to guess the id, and must not end the waiting by guessing wrong.
    in_ = std::move(datagram);
    finished_ = true;
  }

  void ReceiveStream() {
    std::uint8_t buffer[4096];
    const ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) return FailWith(errno);
    if (size == 0) return Fail("the server closed the connection without an answer");
    in_.insert(in_.end(), buffer, buffer + size);
    if (in_.size() < kLengthOctets) return;
    const std::size_t expected = std::size_t{in_[0]} << 8 | in_[1];
    if (in_.size() < kLengthOctets + expected) return;
    in_.resize(kLengthOctets + expected);
    in_.erase(in_.begin(), in_.begin() + kLengthOctets);
    finished_ = true;
    if (!IsAnswer(in_)) Fail("the answer belongs to another question");
  }

  bool IsAnswer(const Bytes& message) const {
    return message.size() >= kHeaderOctets && message[0] == question_[0] && message[1] == question_[1] &&
           (message[2] & 0x80) != 0;
  }

  bool tcp_;
  const Bytes& question_;
  FileDescriptor socket_;
  Bytes out_, in_;
  bool finished_ = false;
  std::string failure_;
};

// Until every conversation has finished or the time is up.
void Run(std::vector<Conversation>& conversations, Deadline deadline) {
  while (true) {
    std::vector<pollfd> waits;
    std::vector<Conversation*> waiting;
    for (Conversation& conversation : conversations) {
      if (conversation.finished()) continue;
      waits.push_back(conversation.Waits());
      waiting.push_back(&conversation);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (waits.empty() || left.count() <= 0) return;
    const int ready = ::poll(waits.data(), waits.size(), static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < waits.size() && ready > 0; ++i) {
      if (waits[i].revents != 0) waiting[i]->Continue();
    }
  }
}

}  // namespace

std::vector<Result<Bytes>> Exchange(std::span<const Question> questions, std::chrono::milliseconds timeout,
                                    unsigned attempts) {
  std::vector<Result<Bytes>> answers(questions.size(), MakeError(Reason::kDnsUnavailable, "not asked"));
  for (unsigned attempt = 0; attempt < attempts; ++attempt) {
    std::vector<Conversation> conversations;
    std::vector<std::size_t> asked;
    for (std::size_t i = 0; i < questions.size(); ++i) {
      if (answers[i]) continue;
      conversations.emplace_back(questions[i]);
      asked.push_back(i);
    }
    Run(conversations, std::chrono::steady_clock::now() + timeout);
    for (std::size_t i = 0; i < asked.size(); ++i) answers[asked[i]] = conversations[i].Take();
  }
  return answers;
}

std::chrono::milliseconds TimeLeft(Deadline deadline, std::chrono::milliseconds timeout, unsigned attempts) {
  const auto left = std::chrono::floor<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return std::clamp(left / attempts, std::chrono::milliseconds(0), timeout);
}

bool HasRoute(const Nameserver& server) {
  const auto address = ToSocketAddress(server);
  if (!address) return false;
  const FileDescriptor probe(::socket(address->storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe && ::connect(probe.get(), address->get(), address->size) == 0;
}

}  // namespace hallmark::dns
