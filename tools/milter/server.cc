#include "tools/milter/server.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <thread>
#include <unordered_set>
#include <utility>
#include <variant>

#include "firmware/runtime/log.h"

namespace hallmark::milter {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Local = asio::local::stream_protocol;

constexpr std::chrono::seconds kSweep{1};
constexpr std::chrono::milliseconds kDrainStep{10};
constexpr std::chrono::milliseconds kBreath{100};  // when there are no descriptors left

Error ListenError(const ListenAddress& address, const std::string& problem) {
  return MakeError(Reason::kIoFailed, "cannot listen on " + address.text + ": " + problem);
}

// A socket file that nobody listens on is one that a crash left behind.
Status RemoveStale(const ListenAddress& address) {
  struct stat status {};
  if (::lstat(address.path.c_str(), &status) != 0) return Ok();
  if (!S_ISSOCK(status.st_mode)) return ListenError(address, "there is a file of that name, and it is no socket");
  asio::io_context io;
  Local::socket socket(io);
  error_code error;
  socket.connect(Local::endpoint(address.path.string()), error);
  if (!error) return ListenError(address, "another process listens there");
  ::unlink(address.path.c_str());
  return Ok();
}

Status SetAccess(const ListenAddress& address, unsigned mode, const std::string& group) {
  if (!group.empty()) {
    const struct group* entry = ::getgrnam(group.c_str());
    if (entry == nullptr) return ListenError(address, "there is no group " + group);
    if (::chown(address.path.c_str(), static_cast<uid_t>(-1), entry->gr_gid) != 0) {
      return ListenError(address, "its group cannot be " + group + ": this process must be in it");
    }
  }
  if (::chmod(address.path.c_str(), mode) != 0) return ListenError(address, "its mode cannot be set");
  return Ok();
}

// What ended a coroutine, where it was not its own end.
std::string Problem(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& problem) {
    return problem.what();
  } catch (...) {
    return "an unknown exception";
  }
}

// For a coroutine that the milter cannot be without: a process that runs on and takes no connections is worse than
// none, which whoever started it starts again. Nothing is lost: what was not answered the MTA sends again.
void EndProcessAfter(const char* what, const std::exception_ptr& thrown) {
  if (!thrown) return;
  log::error("{}: {}: the process ends", what, Problem(thrown));
  std::_Exit(EXIT_FAILURE);
}

}  // namespace

// One thread, its loop, and the connections that live there.
class Server::Worker {
 public:
  Worker(const Service& service, std::chrono::seconds idle) : service_(service), idle_(idle), sweep_(io_) {
    asio::co_spawn(io_, Sweep(),
                   [](std::exception_ptr thrown) { EndProcessAfter("silent connections cannot be closed", thrown); });
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Worker() { Stop(); }

  void Stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  asio::io_context& io() { return io_; }

  // Any thread.
  void Take(Connection::Socket socket) {
    service_.tally.connections_open.fetch_add(1, std::memory_order_relaxed);
    asio::co_spawn(io_, Serve(std::move(socket)), [this](std::exception_ptr thrown) {
      service_.tally.connections_open.fetch_sub(1, std::memory_order_relaxed);
      if (thrown) log::error("a connection is closed: {}", Problem(thrown));
    });
  }
  // From another thread: runs `act` on this one, and waits for that.
  void Run(std::function<void()> act) {
    std::packaged_task<void()> task(std::move(act));
    auto done = task.get_future();
    asio::post(io_, std::move(task));
    done.wait();
  }
  // Does this to each connection, and takes no more of them.
  void Drain(void (Connection::*act)()) {
    Run([this, act] {
      draining_ = true;
      for (Connection* connection : connections_) (connection->*act)();
    });
  }

 private:
  asio::awaitable<void> Serve(Connection::Socket socket) {
    Connection connection(std::move(socket), service_, scratch_);
    const Place place(*this, connection);
    if (draining_) co_return;
    co_await connection.Serve();
  }

  asio::awaitable<void> Sweep() {
    for (;;) {
      sweep_.expires_after(kSweep);
      co_await sweep_.async_wait(asio::use_awaitable);
      const auto oldest = std::chrono::steady_clock::now() - idle_;
      for (Connection* connection : connections_) {
        if (connection->last_active() < oldest) connection->Close();
      }
    }
  }

  // A connection's place among its worker's.
  struct Place {
    Place(Worker& at, Connection& of) : worker(at), connection(of) { worker.connections_.insert(&connection); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { worker.connections_.erase(&connection); }
    Worker& worker;
    Connection& connection;
  };

  const Service& service_;
  const std::chrono::seconds idle_;
  std::array<char, 128 << 10> scratch_;
  std::unordered_set<Connection*> connections_;  // this and below: on the thread only
  bool draining_ = false;
  asio::io_context io_{1};
  asio::steady_timer sweep_;
  std::thread thread_;
};

// One address. Its acceptor lives on the first worker's thread.
class Server::Listener {
 public:
  Listener(Server& server, tcp::acceptor acceptor) : server_(server), acceptor_(std::move(acceptor)) {}
  Listener(Server& server, Local::acceptor acceptor, std::filesystem::path path)
      : server_(server), acceptor_(std::move(acceptor)), path_(std::move(path)) {}
  ~Listener() { RemoveName(); }

  void Begin() {
    std::visit(
        [this](auto& acceptor) {
          asio::co_spawn(acceptor.get_executor(), Accept(acceptor),
                         [](std::exception_ptr thrown) { EndProcessAfter("connections cannot be taken", thrown); });
        },
        acceptor_);
  }
  // The name goes first: a process that starts from here on makes a file of its own, which is not ours to remove.
  void Close() {
    RemoveName();
    error_code ignored;
    std::visit([&](auto& acceptor) { acceptor.close(ignored); }, acceptor_);
  }

 private:
  void RemoveName() {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
  }

  template <class Acceptor>
  asio::awaitable<void> Accept(Acceptor& acceptor) {
    asio::steady_timer breath(acceptor.get_executor());
    bool failing = false;
    for (std::size_t next = 0;; next = (next + 1) % server_.workers_.size()) {
      error_code error;
      auto socket = co_await acceptor.async_accept(server_.workers_[next]->io(),
                                                   asio::redirect_error(asio::use_awaitable, error));
      if (!acceptor.is_open()) co_return;
      if (error) {
        if (!std::exchange(failing, true)) log::error("connections cannot be taken: {}", error.message());
        breath.expires_after(kBreath);
        co_await breath.async_wait(asio::use_awaitable);
        continue;
      }
      if (std::exchange(failing, false)) log::info("connections can be taken again");
      server_.Take(Connection::Socket(std::move(socket)), *server_.workers_[next]);
    }
  }

  Server& server_;
  std::variant<tcp::acceptor, Local::acceptor> acceptor_;
  std::filesystem::path path_;  // of the socket's file, while it is ours; empty for TCP
};

Server::Server(const MilterSettings& settings, const Service& service) : settings_(settings), service_(service) {
  const unsigned threads = settings.threads != 0 ? settings.threads : std::max(1u, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < threads; ++i) workers_.push_back(std::make_unique<Worker>(service_, settings.idle));
}

Server::~Server() {
  for (const auto& worker : workers_) worker->Stop();
  listeners_.clear();
}

Result<std::unique_ptr<Server>> Server::Start(const MilterSettings& settings, const Service& service) {
  std::unique_ptr<Server> server(new Server(settings, service));
  for (const ListenAddress& address : settings.listen) {
    if (const Status status = server->Listen(address); !status) return status.error();
  }
  for (const auto& listener : server->listeners_) listener->Begin();
  return server;
}

Status Server::Listen(const ListenAddress& address) {
  asio::io_context& io = workers_.front()->io();
  try {
    if (address.path.empty()) {
      const auto host = asio::ip::make_address(address.host);
      const auto port = static_cast<std::uint16_t>(std::stoul(address.port));
      tcp::acceptor acceptor(io, tcp::endpoint(host, port));
      const std::string real = std::to_string(acceptor.local_endpoint().port());
      addresses_.push_back(address.text.substr(0, address.text.rfind(':') + 1) + real);
      listeners_.push_back(std::make_unique<Listener>(*this, std::move(acceptor)));
      return Ok();
    }
    if (const Status status = RemoveStale(address); !status) return status;
    Local::acceptor acceptor(io, Local::endpoint(address.path.string()));
    listeners_.push_back(std::make_unique<Listener>(*this, std::move(acceptor), address.path));
    addresses_.push_back(address.text);
  } catch (const boost::system::system_error& error) {
    return ListenError(address, error.code().message());
  }
  return SetAccess(address, settings_.socket_mode, settings_.socket_group);
}

void Server::Take(Connection::Socket socket, Worker& worker) {
  if (service_.tally.connections_open.load(std::memory_order_relaxed) >=
      static_cast<std::int64_t>(settings_.connections)) {
    service_.tally.connections_refused.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  service_.tally.connections_taken.fetch_add(1, std::memory_order_relaxed);
  error_code ignored;
  if (socket.local_endpoint(ignored).protocol().family() != AF_UNIX) {
    socket.set_option(tcp::no_delay(true), ignored);
  }
  worker.Take(std::move(socket));
}

void Server::Drain(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  workers_.front()->Run([this] {
    for (const auto& listener : listeners_) listener->Close();
  });
  for (const auto& worker : workers_) worker->Drain(&Connection::Drain);
  while (service_.tally.connections_open.load() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kDrainStep);
  }
  for (const auto& worker : workers_) worker->Drain(&Connection::Close);
}

}  // namespace hallmark::milter
