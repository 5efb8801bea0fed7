#include "signerd/system_metrics.h"

#include <algorithm>

namespace hallmark {
namespace {

using prometheus::MetricType;

constexpr std::pair<link::TokenState, const char*> kTokenStates[] = {{link::TokenState::kStarting, "starting"},
                                                                     {link::TokenState::kReady, "ready"},
                                                                     {link::TokenState::kAbsent, "absent"},
                                                                     {link::TokenState::kPinRejected, "pin_rejected"},
                                                                     {link::TokenState::kDown, "down"}};

void WritePipeline(const pipeline::Pipeline& pipeline, MetricWriter& out) {
  const pipeline::Counters counters = pipeline.counters();
  out.Family("hallmark_in_flight", "Messages taken in and not answered yet", MetricType::Gauge);
  out.Gauge({}, static_cast<double>(counters.in_flight));
  out.Family("hallmark_request_ids_forgotten_total",
             "Answers that a retry would not get any more though their time was not over", MetricType::Counter);
  out.Counter({}, counters.forgotten_answers);
  out.Family("hallmark_queue_depth", "Messages that wait for a thread of the pipeline", MetricType::Gauge);
  out.Gauge({}, static_cast<double>(counters.waiting));
}

void WriteTokens(const std::vector<tokens::TokenFacts>& all, MetricWriter& out) {
  out.Family("hallmark_token_state", "1 for the state that the token is in", MetricType::Gauge);
  for (const auto& token : all) {
    for (const auto& [state, name] : kTokenStates) {
      out.Gauge({{"token", token.name}, {"state", name}}, token.status.state == state ? 1 : 0);
    }
  }
  out.Family("hallmark_token_sessions", "C_Sign calls that can be in flight", MetricType::Gauge);
  for (const auto& token : all) out.Gauge({{"token", token.name}}, token.status.sessions);
  out.Family("hallmark_token_queue_depth", "Signatures that wait for the token or are being made", MetricType::Gauge);
  for (const auto& token : all) out.Gauge({{"token", token.name}}, static_cast<double>(token.load));
  out.Family("hallmark_token_drained", "1 while others of its group sign in place of the token", MetricType::Gauge);
  for (const auto& token : all) out.Gauge({{"token", token.name}}, token.sick ? 1 : 0);
  out.Family("hallmark_token_signatures_total", "Signatures that the token has made", MetricType::Counter);
  for (const auto& token : all) out.Counter({{"token", token.name}}, token.signatures);
  out.Family("hallmark_token_starts_total", "How often the token's process was started", MetricType::Counter);
  for (const auto& token : all) out.Counter({{"token", token.name}}, static_cast<std::uint64_t>(token.starts));
}

void WriteLedger(const ledger::Ledger& ledger, MetricWriter& out) {
  std::uint64_t checkpointed = 0;
  if (const auto note = ledger.latest_checkpoint()) {
    if (const auto head = ledger::ParseCheckpoint(*note)) checkpointed = head->size;
  }
  const std::uint64_t size = ledger.durable().size;  // after the checkpoint's, so never smaller
  out.Family("hallmark_ledger_available",
             "1 while the ledger can be written, and so can a second sink that is required", MetricType::Gauge);
  out.Gauge({}, ledger.available() ? 1 : 0);
  out.Family("hallmark_ledger_records", "Records that are durable", MetricType::Gauge);
  out.Gauge({}, static_cast<double>(size));
  out.Family("hallmark_ledger_unsigned_records", "Durable records that no checkpoint covers yet", MetricType::Gauge);
  out.Gauge({}, static_cast<double>(size - std::min(size, checkpointed)));
  out.Family("hallmark_ledger_sink_dropped_total", "Records that the second sink did not take", MetricType::Counter);
  out.Counter({}, ledger.sink().value_or(ledger::SinkStatus()).dropped);
  out.Family("hallmark_ledger_torn_files", "What crashes left behind the last record, kept beside the segments",
             MetricType::Gauge);
  out.Gauge({}, static_cast<double>(ledger::CountTorn(ledger.directory())));
}

void WriteQuotas(const SystemParts& parts, MetricWriter& out) {
  const auto view = parts.snapshot.Get();
  std::vector<const snapshot::Partner*> partners;
  for (const auto& [name, partner] : view->partners) partners.push_back(&partner);
  std::sort(partners.begin(), partners.end(),
            [](const auto* left, const auto* right) { return left->name < right->name; });
  if (partners.size() > kMostQuotaPartners) partners.resize(kMostQuotaPartners);
  const auto now = parts.clock.Precise();
  out.Family("hallmark_quota_used_messages", "Messages signed since midnight UTC", MetricType::Gauge);
  for (const auto* partner : partners) {
    out.Gauge({{"partner", partner->name}}, static_cast<double>(parts.quotas.Use(partner->name, now).messages));
  }
  out.Family("hallmark_quota_used_recipients", "Their recipients", MetricType::Gauge);
  for (const auto* partner : partners) {
    out.Gauge({{"partner", partner->name}}, static_cast<double>(parts.quotas.Use(partner->name, now).recipients));
  }
  const auto limits = [&](const char* name, const char* help, std::uint64_t snapshot::Quota::*limit) {
    out.Family(name, help, MetricType::Gauge);
    for (const auto* partner : partners) {
      if (partner->quota.*limit == 0) continue;
      out.Gauge({{"partner", partner->name}}, static_cast<double>(partner->quota.*limit));
    }
  };
  limits("hallmark_quota_messages_per_day", "The partner's limit; missing where it has none",
         &snapshot::Quota::messages_per_day);
  limits("hallmark_quota_recipients_per_day", "That of recipients", &snapshot::Quota::recipients_per_day);
}

void WriteCertificates(const SystemParts& parts, MetricWriter& out) {
  out.Family("hallmark_certificate_expiry_seconds", "Until the certificate expires; not of revoked ones",
             MetricType::Gauge);
  const auto now = parts.clock.Now();
  for (const service::Expiry& expiry : parts.certificates.Expiries()) {
    if (expiry.revoked) continue;
    // Two of one name differ in their fingerprints: one that replaces the other, as a rule.
    out.Gauge({{"certificate", expiry.name}, {"fingerprint", expiry.fingerprint.substr(0, 16)}},
              static_cast<double>((expiry.not_after - now).count()));
  }
}

void WriteRotations(keys::Rotator& rotator, MetricWriter& out) {
  out.Family("hallmark_rotations_in_trouble", "Domains whose rotation waits for what should be there",
             MetricType::Gauge);
  out.Gauge({}, static_cast<double>(rotator.Troubles(std::chrono::seconds(0)).size()));
}

}  // namespace

void WriteSystemMetrics(const SystemParts& parts, MetricWriter& out) {
  WritePipeline(parts.pipeline, out);
  WriteTokens(parts.tokens.Facts(), out);
  WriteLedger(parts.ledger, out);
  WriteQuotas(parts, out);
  WriteCertificates(parts, out);
  WriteRotations(parts.rotator, out);
  parts.health.Write(out);
}

}  // namespace hallmark
