#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "firmware/runtime/metrics.h"
#include "signerd/pipeline/observer.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::watch {

// Counts every answered message for /metrics. Any thread; the counters are atomic, and the map from partners to theirs
// is only locked for writing when a name is new.
class SigningMetrics final : public pipeline::Observer {
 public:
  // Partners with counters of their own; the others are counted together, as "(other)".
  static constexpr std::size_t kMostPartners = 1000;

  SigningMetrics();
  void OnAnswer(const pipeline::Answered& answered) noexcept override;
  void OnBatch(std::size_t messages) noexcept override { batch_.Observe(static_cast<double>(messages)); }

  void Write(MetricWriter& out) const;

 private:
  static constexpr std::size_t kReasons = static_cast<std::size_t>(Reason::kInternal) + 1;
  struct PartnerCounts {
    std::atomic<std::uint64_t> signed_messages{0}, refused{0}, octets{0};
  };
  enum Stage : std::size_t { kQueue, kPrepare, kToken, kFinish, kLedger, kWhole, kStages };
  PartnerCounts& CountsOf(std::string_view partner);
  void ObserveStage(Stage stage, pipeline::Stamps::Time from, pipeline::Stamps::Time to) noexcept;

  std::atomic<std::uint64_t> signed_{0}, signed_by_fewer_{0};
  std::array<std::atomic<std::uint64_t>, kReasons> refused_{};
  std::array<std::unique_ptr<Histogram>, kStages> stages_;
  Histogram batch_;
  mutable std::shared_mutex mutex_;  // guards by_partner_; what it points to is atomic
  snapshot::NameMap<std::unique_ptr<PartnerCounts>> by_partner_;
  PartnerCounts others_, unknown_;
};

}  // namespace hallmark::watch
