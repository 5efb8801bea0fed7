#include "hsm/tokend/serve.h"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "firmware/runtime/log.h"
#include "hsm/link/channel.h"
#include "hsm/tokend/key_calls.h"
#include "hsm/tokend/link_values.h"
#include "hsm/tokend/signer.h"

namespace hallmark::tokend {
namespace {

// What a module call may take once nobody waits for it.
constexpr std::chrono::milliseconds kGrace{700};

// Joins results that finish while an earlier frame is on its way into one frame.
class ResultSink {
 public:
  ResultSink(boost::asio::io_context& io, std::shared_ptr<link::Channel> channel)
      : io_(io), channel_(std::move(channel)) {}

  void Add(std::vector<link::SignOutcome> outcomes) {
    const std::lock_guard lock(mutex_);
    const bool first = waiting_.outcomes.empty();
    for (link::SignOutcome& outcome : outcomes) waiting_.outcomes.push_back(std::move(outcome));
    if (first) boost::asio::post(io_, [this] { Flush(); });
  }

 private:
  void Flush() {
    link::SignResults results;
    {
      const std::lock_guard lock(mutex_);
      std::swap(results, waiting_);
    }
    for (std::size_t start = 0; start < results.outcomes.size(); start += link::kMaxBatch) {
      const std::size_t end = std::min(start + link::kMaxBatch, results.outcomes.size());
      channel_->Send(
          link::SignResults{{std::make_move_iterator(results.outcomes.begin() + static_cast<std::ptrdiff_t>(start)),
                             std::make_move_iterator(results.outcomes.begin() + static_cast<std::ptrdiff_t>(end))}});
    }
  }
  boost::asio::io_context& io_;
  const std::shared_ptr<link::Channel> channel_;
  std::mutex mutex_;  // guards waiting_
  link::SignResults waiting_;
};

// Sees to it that a batch is answered when its time is up, whatever the sessions do. On the I/O thread.
class ExpiryTimer {
 public:
  ExpiryTimer(boost::asio::io_context& io, Signer& signer) : timer_(io), signer_(signer) {}

  void Watch(Signer::TimePoint deadline) {
    if (armed_ && timer_.expiry() <= deadline) return;
    armed_ = true;
    timer_.expires_at(deadline);
    timer_.async_wait([this](boost::system::error_code moved) {
      if (moved) return;
      armed_ = false;
      if (const auto next = signer_.Expire(std::chrono::steady_clock::now())) Watch(*next);
    });
  }
  void Stop() { timer_.cancel(); }

 private:
  boost::asio::steady_timer timer_;
  Signer& signer_;
  bool armed_ = false;
};

// What this process has in memory now; 0 where the system does not say.
std::size_t ResidentMemory() {
  std::size_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Ends the process when the keeper or a key call hangs in the module (of signatures signerd keeps the time), and when
// the module has taken much memory that it does not give back: SoftHSM 2.6 loses some 70 octets with each Ed25519
// signature. What it had when the token was ready is its own: SoftHSM keeps every object in memory. On the I/O thread.
class Watchdog {
 public:
  Watchdog(boost::asio::io_context& io, const Keeper& keeper, const KeyCalls& key_calls)
      : timer_(io), keeper_(keeper), key_calls_(key_calls) {}

  // `grown` ends the process in order. It is called once, while no key call is under way.
  void Watch(std::function<void(const Error&)> grown) {
    grown_ = std::move(grown);
    Wait();
  }
  // The token is ready; the first time counts. Any thread.
  void NoteReady() {
    std::size_t none = 0;
    loaded_.compare_exchange_strong(none, ResidentMemory());
  }
  void Stop() { timer_.cancel(); }

 private:
  static constexpr std::chrono::seconds kLook{1};
  static constexpr std::size_t kMostGrowth = std::size_t{256} << 20;

  void Wait() {
    timer_.expires_after(kLook);
    timer_.async_wait([this](boost::system::error_code stopped) {
      if (stopped) return;
      if (keeper_.Hangs() || key_calls_.Hangs()) {
        log::error("a call of the module does not come back: this process ends, and signerd starts another");
        ::_exit(1);
      }
      const std::size_t grown = Growth();
      if (grown > std::max<std::size_t>(kMostGrowth, loaded_) && !key_calls_.Busy()) {
        grown_(MakeError(Reason::kTokenDown, "the module has taken " + std::to_string(grown >> 20) +
                                                 " MiB and keeps them: this process ends, and signerd starts another"));
        return;
      }
      Wait();
    });
  }
  // Octets since the token was ready; 0 before.
  std::size_t Growth() {
    const std::size_t loaded = loaded_, now = ResidentMemory();
    if (loaded == 0) return 0;
    if (now < loaded) loaded_ = now;
    return now - std::min(now, loaded);
  }
  boost::asio::steady_timer timer_;
  const Keeper& keeper_;
  const KeyCalls& key_calls_;
  std::function<void(const Error&)> grown_;
  std::atomic<std::size_t> loaded_{0};  // the least since the token was ready; 0 before
};

// The socket that signerd handed over; its descriptor is the socket's from here on.
Result<link::Channel::Socket> Adopt(FileDescriptor& descriptor, boost::asio::io_context& io) {
  link::Channel::Socket socket(io);
  boost::system::error_code failed;
  int domain = 0;
  socklen_t size = sizeof domain;
  const bool is_socket =
      ::getsockopt(descriptor.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
  if (is_socket) socket.assign(boost::asio::local::stream_protocol(), descriptor.get(), failed);
  if (failed || !is_socket) {
    return MakeError(Reason::kInvalidArgument, "the link is not a socket: tokend is started by signerd");
  }
  static_cast<void>(descriptor.Release());
  return socket;
}

// A link, and what serves it. Everything is on the I/O thread but what says otherwise.
class Service {
 public:
  Service(boost::asio::io_context& io, link::Channel::Socket socket, const Keeper::Config& config, pkcs11::TokenUri uri)
      : io_(io),
        channel_(link::Channel::Create(std::move(socket))),
        sink_(io, channel_),
        keeper_(config, std::move(uri)),
        signer_(keeper_, config.sessions,
                [this](std::vector<link::SignOutcome> outcomes) { sink_.Add(std::move(outcomes)); }),
        key_calls_(keeper_, {[this](link::KeyCallBegun begun) { channel_->Send(begun); },
                             [this](link::KeyReply reply) { channel_->Send(std::move(reply)); }}),
        expiry_(io, signer_),
        watchdog_(io, keeper_, key_calls_),
        work_(boost::asio::make_work_guard(io)),
        grace_(io) {}

  // Until the link has closed, or is closed here, and the module's threads have ended.
  void Run() {
    channel_->Start([this](link::Frame frame) { Take(frame); }, [this](const Error& why) { End(why); });
    channel_->Send(link::Hello{link::kVersion, static_cast<std::uint32_t>(::getpid())});
    channel_->Send(link::TokenStatus{});
    keeper_.Start({[this](const link::TokenStatus& status) { Tell(status); }, [this] { WakeCallers(); }, &GiveUp});
    signer_.Start();
    key_calls_.Start();
    watchdog_.Watch([this](const Error& why) { Close(why); });
    io_.run();
    stopper_.join();
  }

 private:
  void Take(link::Frame& frame) {
    if (const Status done = Dispatch(frame); !done) Close(done.error());
  }
  // An error where the link is not to go on.
  Status Dispatch(link::Frame& frame);
  void Sign(link::SignBatch batch) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(batch.timeout_ms);
    signer_.Sign(std::move(batch));
    expiry_.Watch(deadline);
  }

  // The keeper's thread.
  void Tell(const link::TokenStatus& status) {
    if (status.state == link::TokenState::kReady) watchdog_.NoteReady();
    channel_->Send(status);
  }
  // Any thread.
  void WakeCallers() {
    signer_.Wake();
    key_calls_.Wake();
  }
  // The same. signerd starts the next process; the module is not to be trusted with an orderly end.
  [[noreturn]] static void GiveUp() { ::_exit(1); }

  void Close(const Error& why) {
    channel_->Close();
    End(why);
  }
  // Once: by Close(), or as the other end closes the link.
  void End(const Error& why) {
    log::info("ending: {}", why.message);
    expiry_.Stop();
    watchdog_.Stop();
    grace_.expires_after(kGrace);
    grace_.async_wait([](boost::system::error_code stopped) {
      if (!stopped) ::_exit(0);  // a call of the module hangs, and cannot be cancelled
    });
    stopper_ = std::thread([this] { StopModule(); });
  }
  // On a thread of its own, since it waits for calls of the module.
  void StopModule() {
    signer_.Stop();
    key_calls_.Stop();
    keeper_.Stop();
    boost::asio::post(io_, [this] {
      grace_.cancel();
      work_.reset();
    });
  }

  boost::asio::io_context& io_;
  const std::shared_ptr<link::Channel> channel_;
  ResultSink sink_;
  Keeper keeper_;
  Signer signer_;
  KeyCalls key_calls_;
  ExpiryTimer expiry_;
  Watchdog watchdog_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer grace_;
  std::thread stopper_;
};

Status Service::Dispatch(link::Frame& frame) {
  if (auto* key = std::get_if<link::DefineKey>(&frame)) {
    if (!FitsKey(key->cka_id, key->spki)) {
      return MakeError(Reason::kInvalidArgument, "a key was defined whose CKA_ID or public part no token would take");
    }
    signer_.Define(*key);
  } else if (auto* batch = std::get_if<link::SignBatch>(&frame)) {
    Sign(std::move(*batch));
  } else if (auto* generate = std::get_if<link::GenerateKey>(&frame)) {
    key_calls_.Add(std::move(*generate));
  } else if (auto* find = std::get_if<link::FindKey>(&frame)) {
    key_calls_.Add(std::move(*find));
  } else if (auto* destroy = std::get_if<link::DestroyKey>(&frame)) {
    key_calls_.Add(std::move(*destroy));
  } else if (auto* begin = std::get_if<link::BeginImport>(&frame)) {
    key_calls_.Add(*begin);
  } else if (auto* import = std::get_if<link::ImportKey>(&frame)) {
    key_calls_.Add(std::move(*import));
  } else if (auto* ping = std::get_if<link::Ping>(&frame)) {
    channel_->Send(link::Pong{ping->id});
  } else {
    log::error("a frame that only tokend sends: ignored");
  }
  return Ok();
}

}  // namespace

Status Serve(const Keeper::Config& config, FileDescriptor descriptor) {
  auto uri = pkcs11::TokenUri::Parse(config.uri);
  if (!uri) return uri.error();
  boost::asio::io_context io(1);
  auto socket = Adopt(descriptor, io);
  if (!socket) return socket.error();
  Service(io, std::move(*socket), config, std::move(*uri)).Run();
  return Ok();
}

}  // namespace hallmark::tokend
