#include <condition_variable>
#include <future>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "tools/relay-client/call.h"
#include "tools/relay-client/endpoints.h"
#include "tools/relay-client/message_parts.h"

namespace hallmark::relay {

namespace {

// gRPC 1.51 reads and writes its connections on threads that wait on a completion queue, and with its callback API
// there are some only while a call is under way. This one always waits, so that connections come about, and those that
// broke are found out, in between.
class Poller {
 public:
  Poller() : thread_([this] { Wait(); }) {}
  ~Poller() {
    queue_.Shutdown();
    thread_.join();
  }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

 private:
  void Wait() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

}  // namespace

struct Client::Parts {
  Settings settings;
  Poller poller;
  std::unique_ptr<Endpoints> endpoints;
  Calls calls;
  std::mutex mutex;  // guards what follows
  std::condition_variable idle;
  std::size_t under_way = 0;
};

Client::Connection Client::Connect(const Settings& settings) {
  auto endpoints = Endpoints::Open(settings);
  if (!endpoints) {
    const Error& error = endpoints.error();
    const bool passes = error.reason == Reason::kStateConflict;
    const std::string reason(passes ? ReasonName(error.reason) : "INVALID_SETTINGS");
    return {nullptr, Failure{FailureKind::kUnavailable, reason, error.message, {}}};
  }
  std::unique_ptr<Parts> parts;
  try {  // a thread that the system does not let us have is no mistake of the settings, and may be had later
    parts = std::make_unique<Parts>();
  } catch (const std::system_error& error) {
    return {nullptr, Failure{FailureKind::kUnavailable, "NO_THREAD", std::string("no thread: ") + error.what(), {}}};
  }
  parts->settings = settings;
  parts->endpoints = std::move(*endpoints);
  return {std::unique_ptr<Client>(new Client(std::move(parts))), {}};
}

Client::Client(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Client::~Client() {
  std::unique_lock lock(parts_->mutex);
  parts_->idle.wait(lock, [this] { return parts_->under_way == 0; });
}

Message Client::Open(MessageOptions options) const { return {parts_->settings, std::move(options)}; }

Outcome Client::Finish(Message message) {
  std::promise<Outcome> promise;
  auto outcome = promise.get_future();
  Finish(std::move(message), [&promise](Outcome made) { promise.set_value(std::move(made)); });
  return outcome.get();
}

void Client::Finish(Message message, std::function<void(Outcome)> done) {
  {
    const std::lock_guard lock(parts_->mutex);
    ++parts_->under_way;
  }
  Call::Start(*parts_->endpoints, parts_->calls, parts_->settings.timeout, std::move(message.parts_->reader).Finish(),
              std::move(message.parts_->options), [parts = parts_.get(), done = std::move(done)](Outcome outcome) {
                done(std::move(outcome));
                const std::lock_guard lock(parts->mutex);
                if (--parts->under_way == 0) parts->idle.notify_all();
              });
}

void Client::Cancel() { parts_->calls.Cancel(); }

std::vector<ServerHealth> Client::Health() {
  const auto set = parts_->endpoints->Now();
  std::vector<ServerHealth> health;
  for (std::size_t i = 0; i < set->size(); ++i) {
    health.push_back({(*set)[i].server(), (*set)[i].State() == GRPC_CHANNEL_READY});
  }
  return health;
}

}  // namespace hallmark::relay
