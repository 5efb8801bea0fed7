#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"

namespace prometheus {
class Exposer;
}

namespace hallmark {

using MetricFamilies = std::vector<prometheus::MetricFamily>;
using Labels = std::vector<std::pair<std::string, std::string>>;

// Builds the families of one scrape.
class MetricWriter {
 public:
  // The samples that follow belong to it.
  void Family(std::string name, std::string help, prometheus::MetricType type);
  void Counter(const Labels& labels, std::uint64_t value);
  void Gauge(const Labels& labels, double value);
  MetricFamilies Take() { return std::move(families_); }

 private:
  friend class Histogram;
  prometheus::ClientMetric& Add(const Labels& labels);
  MetricFamilies families_;
};

// Counts values into fixed buckets without a lock. Any thread: each mostly has counters of its own, since the cores
// would fight for common ones. A scrape may see a value's bucket before its sum.
class Histogram {
 public:
  // Upper bounds, growing; one more bucket takes the rest.
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value) noexcept;
  void Write(MetricWriter& out, const Labels& labels) const;

 private:
  struct alignas(64) Shard {
    std::atomic<double> sum{0};
    std::array<std::atomic<std::uint64_t>, 31> counts{};
  };
  const std::vector<double> bounds_;  // at most 30
  std::array<Shard, 8> shards_;
};

// Serves /metrics (Prometheus' text format) without TLS, so on loopback only, from threads of its own.
class MetricsServer {
 public:
  // Asked at every scrape, on a thread of the server.
  using Collector = std::function<MetricFamilies()>;

  // `listen`: "127.0.0.1:9461"; port 0 takes a free one. kConfigInvalid where it is not a loopback address, kIoFailed
  // where it cannot be listened on.
  static Result<std::unique_ptr<MetricsServer>> Start(const std::string& listen, std::vector<Collector> collectors);
  ~MetricsServer();
  const std::string& address() const { return address_; }

 private:
  class Source;
  MetricsServer() = default;
  std::vector<std::shared_ptr<prometheus::Collectable>> sources_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

// Whether "ADDRESS:PORT" names this machine only.
bool IsLoopback(std::string_view address);

}  // namespace hallmark
