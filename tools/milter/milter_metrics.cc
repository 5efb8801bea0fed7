#include "tools/milter/milter_metrics.h"

namespace hallmark::milter {
namespace {

using prometheus::MetricType;

constexpr std::array<const char*, kVerdicts> kVerdictNames{"signed",     "left_alone", "unsigned",
                                                           "tempfailed", "rejected",   "aborted"};
constexpr std::array<const char*, kTroubles> kTroubleNames{"unavailable", "limited", "refused", "unconfigured"};

}  // namespace

MetricFamilies WriteMetrics(const Tally& tally, const Histogram& signing_seconds, relay::Client& client) {
  MetricWriter out;
  out.Family("hallmark_milter_messages_total", "Messages, by what became of them", MetricType::Counter);
  for (std::size_t i = 0; i < kVerdicts; ++i) out.Counter({{"verdict", kVerdictNames[i]}}, tally.messages[i].load());
  out.Family("hallmark_milter_not_signed_total", "Outbound messages that were not signed, by why", MetricType::Counter);
  for (std::size_t i = 0; i < kTroubles; ++i) out.Counter({{"why", kTroubleNames[i]}}, tally.troubles[i].load());
  out.Family("hallmark_milter_signing_seconds", "From the end of a message to its signatures", MetricType::Histogram);
  signing_seconds.Write(out, {});
  out.Family("hallmark_milter_warnings_total", "What signerd warned of beside a signature", MetricType::Counter);
  for (const auto& [code, count] : tally.warnings.Counts()) out.Counter({{"code", code}}, count);
  out.Family("hallmark_milter_connections", "Connections of MTAs", MetricType::Gauge);
  out.Gauge({}, static_cast<double>(tally.connections_open.load()));
  out.Family("hallmark_milter_connections_total", "Connections that were taken", MetricType::Counter);
  out.Counter({}, tally.connections_taken.load());
  out.Family("hallmark_milter_connections_refused_total", "Connections beyond the limit", MetricType::Counter);
  out.Counter({}, tally.connections_refused.load());
  out.Family("hallmark_milter_protocol_errors_total", "Connections that were closed for what the MTA sent",
             MetricType::Counter);
  out.Counter({}, tally.protocol_errors.load());
  out.Family("hallmark_milter_signerd_ready", "1 where the signerd can be reached and can sign", MetricType::Gauge);
  for (const relay::ServerHealth& server : client.Health()) {
    out.Gauge({{"server", server.server}}, server.ready ? 1 : 0);
  }
  return out.Take();
}

}  // namespace hallmark::milter
