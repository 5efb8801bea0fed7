#include "tools/dkimload/report.h"

#include <google/protobuf/struct.pb.h>

#include <cmath>
#include <cstdio>

#include "tools/dkimctl/json.h"
#include "tools/dkimctl/table.h"

namespace hallmark::load {
namespace {

using ctl::Json;
using ctl::Table;

constexpr struct {
  const char* key;
  const char* heading;
  double part;
} kQuantiles[] = {{"p50", "P50", 0.5}, {"p90", "P90", 0.9}, {"p99", "P99", 0.99}, {"p99_9", "P99.9", 0.999}};

std::string Text(double number, int digits = 1) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, number);
  return text;
}

Json Real(double number) {
  google::protobuf::Value value;
  value.set_number_value(std::round(number * 1000) / 1000);
  return Json::Message(value);
}

Json Count(std::uint64_t number) { return Json::Number(static_cast<std::int64_t>(number)); }

Json Null() {
  google::protobuf::Value value;
  value.set_null_value(google::protobuf::NULL_VALUE);
  return Json::Message(value);
}

double PerSecond(std::uint64_t count, const Results& results) {
  return static_cast<double>(count) / results.window_seconds;
}

// Nothing when no message was answered.
std::optional<double> PerMessage(std::chrono::microseconds time, const Results& results) {
  const std::uint64_t messages = results.tally.answered_in_window();
  if (messages == 0) return std::nullopt;
  return static_cast<double>(time.count()) / static_cast<double>(messages);
}

double Percent(std::chrono::microseconds time, const Results& results) {
  return static_cast<double>(time.count()) / 1e4 / results.watched_seconds;
}

std::string Load(const Options& options) {
  return (options.open_loop() ? "open loop, " + Text(options.rate) + "/s, seed " + std::to_string(options.seed)
                              : "closed loop, " + std::to_string(options.in_flight) + " in flight") +
         ", " + Text(options.duration_seconds) + " s after " + Text(options.warmup_seconds) + " s of warm-up";
}

std::string Facts(const ReportContext& context, const Results& results) {
  const auto& [options, requests, endpoint] = context;
  const std::size_t messages = requests.slices.size();
  Table table;
  table.Add({"server:", endpoint.server});
  table.Add({"method:", NameOf(options.method) + ", connections: " + std::to_string(options.connections)});
  table.Add({"messages:", std::to_string(messages) + ", " + std::to_string(requests.message_octets / messages) +
                              " octets on average"});
  table.Add({"load:", Load(options)});
  table.Add({"sent:", std::to_string(results.started) + ", " + Text(PerSecond(results.started, results)) + "/s"});
  if (results.unsent > 0) {
    table.Add({"not sent:", std::to_string(results.unsent) + ": this machine cannot make such a load"});
  }
  table.Add({"signed:", std::to_string(results.tally.well().count()) + ", " +
                            Text(PerSecond(results.tally.well_in_window(), results)) + "/s"});
  table.Add({"failed:", std::to_string(results.tally.failed().count())});
  return table.Render();
}

std::string Latencies(const Results& results) {
  std::vector<std::string> headings = {"MICROSECONDS", "COUNT", "MEAN"};
  for (const auto& quantile : kQuantiles) headings.emplace_back(quantile.heading);
  headings.emplace_back("MAX");
  Table table(headings);
  const auto add = [&](const char* name, const Histogram& histogram) {
    if (histogram.count() == 0) return;
    std::vector<std::string> row = {name, std::to_string(histogram.count()), Text(histogram.mean(), 0)};
    for (const auto& quantile : kQuantiles) row.push_back(std::to_string(histogram.Quantile(quantile.part)));
    row.push_back(std::to_string(histogram.max()));
    table.Add(row);
  };
  add("signed", results.tally.well());
  add("failed", results.tally.failed());
  add("sent late", results.lag);
  return table.empty() ? "" : "\n" + table.Render();
}

std::string Failures(const Results& results) {
  Table table({"FAILED", "CODE", "REASON"});
  for (const auto& [kind, count] : results.tally.failures()) {
    table.Add({std::to_string(count), CodeName(kind.first), kind.second});
  }
  return table.empty() ? "" : "\n" + table.Render();
}

std::string Processes(const Results& results) {
  Table table({"PROCESS", "PID", "CPU US/MESSAGE", "USER", "SYSTEM", "CPU %", "RSS KIB", "PEAK KIB"});
  for (const auto& [process, cpu, memory] : results.processes) {
    std::vector<std::string> row = {process.name, std::to_string(process.pid)};
    const auto cell = [&](std::optional<double> value) { row.push_back(value ? Text(*value) : "-"); };
    cell(cpu ? PerMessage(cpu->user + cpu->system, results) : std::nullopt);
    cell(cpu ? PerMessage(cpu->user, results) : std::nullopt);
    cell(cpu ? PerMessage(cpu->system, results) : std::nullopt);
    cell(cpu ? std::optional(Percent(cpu->user + cpu->system, results)) : std::nullopt);
    row.push_back(memory ? std::to_string(memory->resident_kib) : "-");
    row.push_back(memory ? std::to_string(memory->peak_kib) : "-");
    table.Add(row);
  }
  return "\n" + table.Render();
}

Json ToJson(const Histogram& histogram) {
  Json json = Json::Object();
  json.Set("count", Count(histogram.count())).Set("mean", Real(histogram.mean()));
  for (const auto& quantile : kQuantiles) json.Set(quantile.key, Json::Number(histogram.Quantile(quantile.part)));
  return json.Set("max", Json::Number(histogram.max()));
}

Json ToJson(const ProcessCost& cost, const Results& results) {
  const auto per_message = [&](std::chrono::microseconds time) {
    const auto value = PerMessage(time, results);
    return value ? Real(*value) : Null();
  };
  const auto& [process, cpu, memory] = cost;
  return Json::Object()
      .Set("name", Json::Text(process.name))
      .Set("pid", Json::Number(process.pid))
      .Set("cpu_us_per_message", cpu ? per_message(cpu->user + cpu->system) : Null())
      .Set("user_us", cpu ? Json::Number(cpu->user.count()) : Null())
      .Set("system_us", cpu ? Json::Number(cpu->system.count()) : Null())
      .Set("cpu_percent", cpu ? Real(Percent(cpu->user + cpu->system, results)) : Null())
      .Set("rss_kib", memory ? Json::Number(memory->resident_kib) : Null())
      .Set("peak_rss_kib", memory ? Json::Number(memory->peak_kib) : Null());
}

Json ToJson(const Options& options) {
  return Json::Object()
      .Set("method", Json::Text(NameOf(options.method)))
      .Set("domain", Json::Text(options.domain))
      .Set("rate", options.open_loop() ? Real(options.rate) : Null())
      .Set("in_flight", options.open_loop() ? Null() : Count(options.in_flight))
      .Set("seed", Json::Text(std::to_string(options.seed)))
      .Set("duration_seconds", Real(options.duration_seconds))
      .Set("warmup_seconds", Real(options.warmup_seconds))
      .Set("connections", Count(options.connections))
      .Set("deadline_ms", Json::Number(options.deadline_milliseconds))
      .Set("check", Json::Bool(options.check));
}

}  // namespace

std::string TableReport(const ReportContext& context, const Results& results) {
  return Facts(context, results) + Latencies(results) + Failures(results) + Processes(results);
}

std::string JsonReport(const ReportContext& context, const Results& results) {
  const Tally& tally = results.tally;
  Json errors = Json::Array();
  for (const auto& [kind, count] : tally.failures()) {
    errors.Add(Json::Object()
                   .Set("code", Json::Text(CodeName(kind.first)))
                   .Set("reason", Json::Text(kind.second))
                   .Set("count", Count(count)));
  }
  Json processes = Json::Array();
  for (const ProcessCost& cost : results.processes) processes.Add(ToJson(cost, results));
  return Json::Object()
      .Set("server", Json::Text(context.endpoint.server))
      .Set("load", ToJson(context.options))
      .Set("messages", Json::Object()
                           .Set("count", Count(context.requests.slices.size()))
                           .Set("octets", Count(context.requests.message_octets)))
      .Set("window_seconds", Real(results.window_seconds))
      .Set("started", Count(results.started))
      .Set("unsent", Count(results.unsent))
      .Set("offered_rate", Real(PerSecond(results.started, results)))
      .Set("throughput", Real(PerSecond(tally.well_in_window(), results)))
      .Set("ok", Count(tally.well().count()))
      .Set("failed", Count(tally.failed().count()))
      .Set("errors", std::move(errors))
      .Set("latency_us", ToJson(tally.well()))
      .Set("failed_latency_us", ToJson(tally.failed()))
      .Set("lag_us", ToJson(results.lag))
      .Set("processes", std::move(processes))
      .Dump();
}

}  // namespace hallmark::load
