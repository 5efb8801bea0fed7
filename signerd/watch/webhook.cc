#include "signerd/watch/webhook.h"

#include <google/protobuf/util/json_util.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/log.h"
#include "signerd/watch/alert_convert.h"

namespace hallmark::watch {
namespace {

constexpr std::chrono::seconds kLimit{10};  // for one attempt, whole
constexpr std::chrono::milliseconds kFirstPause = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kLongestPause = std::chrono::minutes(15);
constexpr std::chrono::seconds kLookAgain{1};
constexpr std::chrono::hours kTryFor{24};
constexpr std::size_t kMostAtOnce = 100;

std::string Hmac(std::string_view secret, std::string_view body) {
  std::array<std::uint8_t, 32> mac{};
  unsigned size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), AsBytes(body).data(), body.size(), mac.data(),
       &size);
  return HexEncode(mac);
}

std::string BodyOf(const store::AlertRow& row) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(ToApi(row), &json, options);  // fails for Any only
  return json;
}

}  // namespace

Result<std::unique_ptr<Webhook>> Webhook::Start(const WebhookSettings& settings, store::Store& store) {
  auto url = ParseUrl(settings.url);
  if (!url) return MakeError(Reason::kConfigInvalid, "watch.webhook.url " + url.error().message);
  auto secret = ReadSecretFile(settings.secret_file);
  if (!secret) return secret.error();
  std::unique_ptr<Webhook> webhook(new Webhook(settings, std::move(*url), std::move(*secret), store));
  webhook->thread_ = std::jthread([raw = webhook.get()](const std::stop_token& stop) { raw->Run(stop); });
  return webhook;
}

void Webhook::Wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  wake_.notify_one();
}

void Webhook::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      // Where some wait for an attempt it looks again; else only when there is something new.
      if (!look_again_) {
        wake_.wait(lock, stop, [&] { return woken_; });
      } else {
        wake_.wait_for(lock, stop, kLookAgain, [&] { return woken_; });
      }
      woken_ = false;
    }
    if (!stop.stop_requested()) SendWaiting(stop);
  }
}

// Some of those that are due. The store is read to its end: a hundred that pause must not hide the one behind them.
Result<Webhook::Due> Webhook::FindDue() {
  Due due;
  std::map<std::uint64_t, Retry> retries;  // of those that still wait
  const auto now = std::chrono::steady_clock::now();
  std::uint64_t after = 0, waiting = 0;
  while (true) {
    auto rows = store_.AlertsToDeliver(after);
    if (!rows) return rows.error();
    if (rows->empty()) break;
    after = rows->back().id;
    waiting += rows->size();
    for (store::AlertRow& row : *rows) {
      const auto tried = retries_.find(row.id);
      if (tried != retries_.end()) retries.insert(*tried);
      const bool is_due = tried == retries_.end() || tried->second.due <= now;
      auto& to = tried == retries_.end() ? due.fresh : due.again;
      if (is_due && to.size() < kMostAtOnce) to.push_back(std::move(row));
    }
  }
  retries_ = std::move(retries);
  waiting_count_ = waiting;
  return due;
}

void Webhook::SendWaiting(const std::stop_token& stop) {
  const auto due = FindDue();
  if (!due) {
    log::error("webhook: {}", due.error().message);
    look_again_ = true;
    return;
  }
  for (const store::AlertRow& alert : due->fresh) {
    if (stop.stop_requested()) return;
    Try(alert, stop);
  }
  // One that fails again ends the round, so that what has come meanwhile does not wait for all of them.
  for (const store::AlertRow& alert : due->again) {
    if (stop.stop_requested() || !Try(alert, stop)) break;
  }
  look_again_ = waiting_count_ != 0;
}

// Whether it need not be sent again.
bool Webhook::Try(const store::AlertRow& alert, const std::stop_token& stop) {
  Retry& retry = retries_[alert.id];
  if (retry.failures == 0) retry.first = std::chrono::steady_clock::now();
  const Status sent = Send(alert, stop);
  if (!sent && stop.stop_requested()) return false;
  const auto now = std::chrono::steady_clock::now();
  const bool give_up = !sent && now - retry.first > kTryFor;
  if (sent || give_up) {
    ++(sent ? delivered_ : given_up_);
    if (give_up) log::error("webhook: alert {} is given up after a day: {}", alert.id, sent.error().message);
    const Status marked = store_.MarkDelivered(alert.id, sent.has_value());
    if (marked) {
      retries_.erase(alert.id);
      --waiting_count_;
      return true;
    }
    log::error("webhook: {}", marked.error().message);  // it is sent once more
  } else {
    ++failed_;
    log::warn("webhook: alert {} was not taken: {}", alert.id, sent.error().message);
  }
  retry.due = now + PauseAfter(++retry.failures);
  return false;
}

// Doubles; a fifth more or less by chance, so that many boxes do not come back at once.
std::chrono::milliseconds Webhook::PauseAfter(unsigned failures) {
  const auto pause = std::min(kLongestPause, kFirstPause * (1 << std::min(failures - 1, 20u)));
  return pause * std::uniform_int_distribution<int>(80, 120)(random_) / 100;
}

Status Webhook::Send(const store::AlertRow& alert, const std::stop_token& stop) {
  const std::string body = BodyOf(alert);
  const auto status = PostJson(url_, settings_.ca, body,
                               {{"X-Hallmark-Alert", std::to_string(alert.id)},
                                {"X-Hallmark-Signature", "sha256=" + Hmac(secret_.view(), body)}},
                               kLimit, stop);
  if (!status) return status.error();
  if (*status >= 200 && *status < 300) return Ok();
  return MakeError(Reason::kIoFailed, "the server answered " + std::to_string(*status));
}

void Webhook::Write(MetricWriter& out) const {
  out.Family("hallmark_webhook_attempts_total", "Attempts to tell the webhook, by result",
             prometheus::MetricType::Counter);
  out.Counter({{"result", "delivered"}}, delivered_.load());
  out.Counter({{"result", "failed"}}, failed_.load());
  out.Counter({{"result", "given_up"}}, given_up_.load());
  out.Family("hallmark_webhook_waiting", "Alerts that the webhook was not told of yet", prometheus::MetricType::Gauge);
  out.Gauge({}, static_cast<double>(waiting_count_.load()));
}

}  // namespace hallmark::watch
