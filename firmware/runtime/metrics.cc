#include "firmware/runtime/metrics.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <prometheus/exposer.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>

#include "firmware/runtime/file.h"

namespace hallmark {
namespace {

constexpr std::chrono::milliseconds kKnockEvery{5};

// Digits alone: the server takes more, such as a list of ports.
bool IsPort(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size();
}

// Connects and says nothing. Whether that works does not matter.
void Knock(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) return;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  const FileDescriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket) (void)::connect(socket.get(), found->ai_addr, found->ai_addrlen);
}

}  // namespace

void MetricWriter::Family(std::string name, std::string help, prometheus::MetricType type) {
  families_.push_back({std::move(name), std::move(help), type, {}});
}

prometheus::ClientMetric& MetricWriter::Add(const Labels& labels) {
  prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

void MetricWriter::Counter(const Labels& labels, std::uint64_t value) {
  Add(labels).counter.value = static_cast<double>(value);
}

void MetricWriter::Gauge(const Labels& labels, double value) { Add(labels).gauge.value = value; }

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {
  // A defect of the program, not of its input.
  if (bounds_.size() >= std::tuple_size_v<decltype(Shard::counts)>) std::abort();
}

void Histogram::Observe(double value) noexcept {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  Shard& shard = shards_[std::hash<std::thread::id>()(std::this_thread::get_id()) % shards_.size()];
  shard.counts[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  shard.sum.fetch_add(value, std::memory_order_relaxed);
}

void Histogram::Write(MetricWriter& out, const Labels& labels) const {
  auto& histogram = out.Add(labels).histogram;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i <= bounds_.size(); ++i) {
    for (const Shard& shard : shards_) below += shard.counts[i].load(std::memory_order_relaxed);
    // The last bound is +Inf, which the format adds by itself from the count.
    if (i < bounds_.size()) histogram.bucket.push_back({below, bounds_[i]});
  }
  histogram.sample_count = below;
  for (const Shard& shard : shards_) histogram.sample_sum += shard.sum.load(std::memory_order_relaxed);
}

class MetricsServer::Source final : public prometheus::Collectable {
 public:
  explicit Source(Collector collect) : collect_(std::move(collect)) {}
  MetricFamilies Collect() const override { return collect_(); }

 private:
  const Collector collect_;
};

bool IsLoopback(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || !IsPort(address.substr(colon + 1))) return false;
  const std::string host(address.substr(0, colon));
  in_addr number{};
  const bool v4 = ::inet_pton(AF_INET, host.c_str(), &number) == 1;
  return v4 ? (ntohl(number.s_addr) >> 24) == 127 : host == "[::1]" || host == "localhost";
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& listen,
                                                            std::vector<Collector> collectors) {
  if (!IsLoopback(listen)) {
    return MakeError(Reason::kConfigInvalid,
                     "metrics are served on a loopback \"ADDRESS:PORT\" only, not on " + listen);
  }
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  try {  // prometheus-cpp speaks in exceptions; they end here.
    server->exposer_ = std::make_unique<prometheus::Exposer>(listen, 2);
    const auto ports = server->exposer_->GetListeningPorts();
    if (ports.empty()) return MakeError(Reason::kIoFailed, "cannot listen on " + listen + " for metrics");
    server->address_ = listen.substr(0, listen.rfind(':') + 1) + std::to_string(ports.front());
    for (Collector& collector : collectors) {
      server->sources_.push_back(std::make_shared<Source>(std::move(collector)));
      server->exposer_->RegisterCollectable(server->sources_.back());
    }
  } catch (const std::exception& error) {
    return MakeError(Reason::kIoFailed, "cannot listen on " + listen + " for metrics: " + error.what());
  }
  return server;
}

MetricsServer::~MetricsServer() {
  if (exposer_ == nullptr) return;
  // Its listening thread looks every two seconds whether it is to end, or when somebody connects.
  const std::jthread knocks([this](const std::stop_token& ended) {
    while (!ended.stop_requested()) {
      Knock(address_);
      std::this_thread::sleep_for(kKnockEvery);
    }
  });
  exposer_.reset();
}

}  // namespace hallmark
