#include "firmware/provision/push_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <arpa/inet.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "firmware/provision/push_request.h"

namespace hallmark::provision {
namespace {

constexpr std::chrono::seconds kFirstWords{20}, kTransfer{60};
constexpr std::chrono::minutes kSettingUp{10};  // a slow TPM
constexpr std::string_view kAlphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

// 16 of 32 letters and digits: 80 bits.
std::string MakeCode() {
  unsigned char octets[16];
  if (RAND_bytes(octets, sizeof octets) != 1) return "";
  std::string code;
  for (const unsigned char octet : octets) code += kAlphabet[octet % kAlphabet.size()];
  return code;
}

Error IoError(const std::string& what) { return MakeError(Reason::kIoFailed, what + ": " + std::strerror(errno)); }

// "ADDRESS:PORT" of this machine, IPv6 in brackets; "[::]" takes IPv4 too.
Result<FileDescriptor> Listen(const std::string& where, int& port) {
  const std::size_t colon = where.rfind(':');
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  std::string host = colon == std::string::npos ? "" : where.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) host = "::ffff:" + host;
  std::uint16_t number = 0;
  const char* const end = where.data() + where.size();
  if (colon == std::string::npos || ::inet_pton(AF_INET6, host.c_str(), &address.sin6_addr) != 1 ||
      std::from_chars(where.data() + colon + 1, end, number).ptr != end) {
    return MakeError(Reason::kInvalidArgument, where + ": expected ADDRESS:PORT");
  }
  address.sin6_port = htons(number);
  FileDescriptor listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int off = 0, on = 1;
  socklen_t size = sizeof address;
  if (!listener || ::setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener.get(), 8) != 0 ||
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return IoError(where + ": cannot listen");
  }
  port = ntohs(address.sin6_port);
  return listener;
}

// The only socket that systemd passes to this process: sd_listen_fds(3).
Result<FileDescriptor> TakeFromSystemd(int& port) {
  if (::sd_listen_fds(1) != 1) return MakeError(Reason::kNotFound, "systemd has not passed a socket to listen on");
  FileDescriptor listener(SD_LISTEN_FDS_START);
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::fcntl(listener.get(), F_SETFL, O_NONBLOCK) != 0) {
    return IoError("the socket of systemd");
  }
  port = ntohs(address.sin6_port);
  return listener;
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

// That it was written says little: a connection that is gone takes it too.
bool SaysKept(TlsStream& stream) {
  const auto word = stream.ReadLine(kMostLine);
  return word && *word == "KEPT";
}

}  // namespace

std::string PlainCode(std::string_view typed) {
  std::string code;
  for (const char c : typed) {
    if (c == '-' || c == ' ') continue;
    code += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return code;
}

Result<std::unique_ptr<PushServer>> PushServer::Start(const std::string& listen, std::chrono::milliseconds delay) {
  int port = 0;
  auto listener = listen == kFromSystemd ? TakeFromSystemd(port) : Listen(listen, port);
  if (!listener) return listener.error();
  FileDescriptor stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop) return IoError("no event");
  auto identity = MakeSelfSigned({"Hallmark, not set up yet", {"hallmark.invalid"}, {}, {}, Usage::kServer});
  if (!identity) return identity.error();
  std::unique_ptr<PushServer> server(
      new PushServer(std::move(*listener), std::move(stop), std::move(*identity), delay));
  server->port_ = port;
  if (server->code_.empty()) return MakeError(Reason::kInternal, "no random octets for a code");
  server->thread_ = std::thread([raw = server.get()] { raw->Serve(); });
  return server;
}

PushServer::PushServer(FileDescriptor listener, FileDescriptor stop, Identity identity, std::chrono::milliseconds delay)
    : listener_(std::move(listener)),
      stop_(std::move(stop)),
      identity_(std::move(identity)),
      delay_(delay),
      fingerprint_(Fingerprint(identity_.certificate.get())),
      code_(MakeCode()) {}

PushServer::~PushServer() {
  const std::uint64_t one = 1;
  // An eventfd takes this whatever happens; the thread sees it at its next wait.
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    answered_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

std::string PushServer::Code() {
  const std::lock_guard lock(mutex_);
  return GiveCode();
}

std::optional<std::string> PushServer::NewCode() {
  const std::lock_guard lock(mutex_);
  if (!code_is_new_) return std::nullopt;
  return GiveCode();
}

std::string PushServer::GiveCode() {
  code_is_new_ = false;
  std::string grouped;
  for (std::size_t at = 0; at < code_.size(); at += 4) grouped += (at == 0 ? "" : "-") + code_.substr(at, 4);
  return grouped;
}

std::optional<PushServer::Pushed> PushServer::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(pushed_, std::nullopt);
}

bool PushServer::Answer(int number, bool taken, const std::string& text) {
  std::unique_lock lock(mutex_);
  closed_ = closed_ || taken;
  const bool waits = waiting_ == number;
  if (waits) answer_ = taken ? "OK " + std::to_string(text.size()) + "\n" + text : "NO " + OneLine(text) + "\n";
  answered_.notify_all();
  if (!waits || !taken) return false;
  answered_.wait(lock, [&] { return waiting_ != number; });  // Converse has a deadline
  return kept_;
}

bool PushServer::CodeIsRight(std::string_view typed) {
  const std::string code = PlainCode(typed);
  const std::lock_guard lock(mutex_);
  if (code.size() == code_.size() && CRYPTO_memcmp(code.data(), code_.data(), code.size()) == 0) return true;
  if (++wrong_ < kWrongCodes) return false;
  // Without random octets the code is empty, which no request has: then nobody gets in.
  wrong_ = 0;
  code_ = MakeCode();
  code_is_new_ = true;
  return false;
}

void PushServer::Serve() {
  while (true) {
    pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    FileDescriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) Converse(std::move(socket));
    const std::lock_guard lock(mutex_);
    if (!closed_) continue;
    listener_.Reset();
    return;
  }
}

// An error ends the connection; nobody is there to hear of it.
void PushServer::Converse(FileDescriptor socket) {
  const auto in = [](auto time) { return std::chrono::steady_clock::now() + time; };
  auto stream = TlsStream::Accept(std::move(socket), identity_, in(kFirstWords), stop_.get());
  if (!stream) return;
  const auto line = stream->ReadLine(kMostLine);
  const auto request = line ? ReadPushRequest(*line) : line.error();
  if (!request) return;
  if (request->code.empty() || !CodeIsRight(request->code)) {
    pollfd stop{stop_.get(), POLLIN, 0};
    ::poll(&stop, 1, static_cast<int>(delay_.count()));
    (void)stream->Write("NO the code is not the one on the box's console\n");
    return;
  }
  stream->SetDeadline(in(kTransfer));
  if (!stream->Write("GO\n")) return;
  auto file = stream->Read(request->size);
  if (!file) return;
  std::unique_lock lock(mutex_);
  answer_.reset();
  waiting_ = ++pushes_;
  pushed_ = Pushed{waiting_, std::move(*file)};
  answered_.wait_for(lock, kSettingUp, [this] { return answer_.has_value() || closed_; });
  pushed_.reset();
  const std::string answer = answer_.value_or(closed_ ? "NO the box was set up in another way\n"
                                                      : "NO the box is still at work; its console says on what\n");
  lock.unlock();
  stream->SetDeadline(in(kFirstWords));
  const bool kept = stream->Write(answer) && answer.starts_with("OK ") && SaysKept(*stream);
  lock.lock();
  waiting_ = 0;
  kept_ = kept;
  answered_.notify_all();
}

}  // namespace hallmark::provision
