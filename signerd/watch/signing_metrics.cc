#include "signerd/watch/signing_metrics.h"

#include <mutex>

namespace hallmark::watch {
namespace {

using prometheus::MetricType;

// Seconds. From a fast token's answer to the longest wait.
const std::vector<double> kLatencies = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                        0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};
const std::vector<double> kBatches = {1, 2, 4, 8, 16, 32, 64};
constexpr const char* kStageNames[] = {"queue", "prepare", "token", "finish", "ledger", "whole"};

}  // namespace

SigningMetrics::SigningMetrics() : batch_(kBatches) {
  for (auto& stage : stages_) stage = std::make_unique<Histogram>(kLatencies);
}

SigningMetrics::PartnerCounts& SigningMetrics::CountsOf(std::string_view partner) {
  if (partner.empty()) return unknown_;
  {
    const std::shared_lock lock(mutex_);
    const auto found = by_partner_.find(partner);
    if (found != by_partner_.end()) return *found->second;
    if (by_partner_.size() >= kMostPartners) return others_;
  }
  const std::lock_guard lock(mutex_);
  auto& counts = by_partner_[std::string(partner)];
  if (counts == nullptr) counts = std::make_unique<PartnerCounts>();
  return *counts;
}

void SigningMetrics::ObserveStage(Stage stage, pipeline::Stamps::Time from, pipeline::Stamps::Time to) noexcept {
  if (from == pipeline::Stamps::Time{} || to == pipeline::Stamps::Time{}) return;
  stages_[stage]->Observe(std::chrono::duration<double>(to - from).count());
}

void SigningMetrics::OnAnswer(const pipeline::Answered& answered) noexcept {
  PartnerCounts& partner = CountsOf(answered.partner);
  if (answered.refusal) {
    refused_[static_cast<std::size_t>(*answered.refusal)].fetch_add(1, std::memory_order_relaxed);
    partner.refused.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  signed_.fetch_add(1, std::memory_order_relaxed);
  if (answered.fewer_signatures) signed_by_fewer_.fetch_add(1, std::memory_order_relaxed);
  partner.signed_messages.fetch_add(1, std::memory_order_relaxed);
  partner.octets.fetch_add(answered.octets, std::memory_order_relaxed);
  const pipeline::Stamps& at = answered.stamps;
  ObserveStage(kQueue, at.taken, at.preparing);
  ObserveStage(kPrepare, at.preparing, at.sent);
  ObserveStage(kToken, at.sent, at.finishing);
  ObserveStage(kFinish, at.finishing, at.recording);
  ObserveStage(kLedger, at.recording, at.answered);
  ObserveStage(kWhole, at.taken, at.answered);
}

void SigningMetrics::Write(MetricWriter& out) const {
  out.Family("hallmark_signed_total", "Messages signed", MetricType::Counter);
  out.Counter({}, signed_.load());
  out.Family("hallmark_fewer_signatures_total", "Messages signed without some keys of their domain: a token was down",
             MetricType::Counter);
  out.Counter({}, signed_by_fewer_.load());
  out.Family("hallmark_refused_total", "Messages refused, by reason", MetricType::Counter);
  for (std::size_t i = 0; i < kReasons; ++i) {
    // Those that are 0 too: a series that is new has not grown, and its first refusals would alert nobody.
    out.Counter({{"reason", std::string(ReasonName(static_cast<Reason>(i)))}}, refused_[i].load());
  }
  const auto by_partner = [&](const char* name, const char* help, std::atomic<std::uint64_t> PartnerCounts::*member) {
    out.Family(name, help, MetricType::Counter);
    const std::shared_lock lock(mutex_);
    for (const auto& [partner, counts] : by_partner_) {
      out.Counter({{"partner", partner}}, ((*counts).*member).load());
    }
    out.Counter({{"partner", "(other)"}}, (others_.*member).load());
    out.Counter({{"partner", "(unknown)"}}, (unknown_.*member).load());
  };
  by_partner("hallmark_partner_signed_total", "Messages signed, by partner", &PartnerCounts::signed_messages);
  by_partner("hallmark_partner_refused_total", "Messages refused, by partner", &PartnerCounts::refused);
  by_partner("hallmark_partner_octets_total", "Octets of signed messages, by partner", &PartnerCounts::octets);
  out.Family("hallmark_stage_seconds", "Time that signed messages spent in each stage", MetricType::Histogram);
  for (std::size_t i = 0; i < kStages; ++i) stages_[i]->Write(out, {{"stage", kStageNames[i]}});
  out.Family("hallmark_batch_messages", "Messages prepared together", MetricType::Histogram);
  batch_.Write(out, {});
}

}  // namespace hallmark::watch
