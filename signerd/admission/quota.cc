#include "signerd/admission/quota.h"

#include <algorithm>
#include <mutex>

namespace hallmark::admission {
namespace {

using std::chrono::nanoseconds;

constexpr std::uint64_t kNoLimit = 0;

std::uint16_t DayOf(std::chrono::sys_days day) { return static_cast<std::uint16_t>(day.time_since_epoch().count()); }
std::uint16_t DayOf(Quotas::TimePoint now) { return DayOf(std::chrono::floor<std::chrono::days>(now)); }

// A day and what was counted in it, in one word, so that the first message of a day needs no lock to begin it.
class DayCounter {
 public:
  // The day in which it was counted; nothing, and nothing is counted, when that would be more than `most`.
  std::optional<std::uint16_t> Take(std::uint16_t day, std::uint64_t amount, std::uint64_t most) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (true) {
      const std::uint16_t kept = DayToCountIn(word, day);
      const std::uint64_t count = CountOn(word, day) + amount;
      if (most != kNoLimit && count > most) return std::nullopt;
      if (word_.compare_exchange_weak(word, Word(kept, count), std::memory_order_relaxed)) return kept;
    }
  }
  void GiveBack(std::uint16_t day, std::uint64_t amount) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (DayIn(word) == day) {
      const std::uint64_t count = CountIn(word);
      if (word_.compare_exchange_weak(word, Word(day, count - std::min(count, amount)), std::memory_order_relaxed))
        return;
    }
  }
  std::uint64_t On(std::uint16_t day) const { return CountOn(word_.load(std::memory_order_relaxed), day); }

 private:
  static constexpr int kDayShift = 48;
  static std::uint64_t Word(std::uint16_t day, std::uint64_t count) {
    return static_cast<std::uint64_t>(day) << kDayShift | std::min(count, (std::uint64_t{1} << kDayShift) - 1);
  }
  static std::uint16_t DayIn(std::uint64_t word) { return static_cast<std::uint16_t>(word >> kDayShift); }
  static std::uint64_t CountIn(std::uint64_t word) { return word & ((std::uint64_t{1} << kDayShift) - 1); }
  // Another thread may be past midnight already: then this message counts as of the new day too. Any other day that is
  // not `day` is over, or was a wrong clock's.
  static std::uint16_t DayToCountIn(std::uint64_t word, std::uint16_t day) {
    const auto next = static_cast<std::uint16_t>(day + 1);
    return DayIn(word) == next ? next : day;
  }
  static std::uint64_t CountOn(std::uint64_t word, std::uint16_t day) {
    return DayIn(word) == DayToCountIn(word, day) ? CountIn(word) : 0;
  }
  std::atomic<std::uint64_t> word_{0};
};

}  // namespace

struct PartnerCounters {
  DayCounter messages, recipients;
  // When the bucket will be full again, in nanoseconds since 1970 (the generic cell rate algorithm's theoretical
  // arrival time): one number says how many tokens are left, and a change of the limits needs no conversion.
  std::atomic<std::int64_t> full_at{0};
};

namespace {

// How far ahead of now `full_at` can be: by a whole bucket.
std::int64_t WholeBucket(const snapshot::Quota& quota, std::int64_t each) {
  return each * (quota.burst != 0 ? quota.burst : quota.rate_per_second);
}

std::int64_t EachToken(const snapshot::Quota& quota) { return std::int64_t{1'000'000'000} / quota.rate_per_second; }

// The bucket, as one step from `full_at`; nothing when it holds no token.
std::optional<std::int64_t> TakeToken(std::int64_t full_at, const snapshot::Quota& quota, std::int64_t now) {
  const std::int64_t each = EachToken(quota), whole = WholeBucket(quota, each);
  const std::int64_t next = std::clamp(full_at, now, now + whole) + each;
  if (next - now > whole) return std::nullopt;
  return next;
}

bool TakeRate(std::atomic<std::int64_t>& full_at, const snapshot::Quota& quota, std::int64_t now) {
  std::int64_t before = full_at.load(std::memory_order_relaxed);
  while (true) {
    const auto next = TakeToken(before, quota, now);
    // Further ahead than a whole bucket it is only when the clock went back, or the limits were raised: then it becomes
    // an empty bucket of now, or it would stay empty until the clock is where it was.
    const std::int64_t furthest = now + WholeBucket(quota, EachToken(quota));
    const std::int64_t after = next ? *next : std::min(before, furthest);
    if (after == before) return next.has_value();
    if (full_at.compare_exchange_weak(before, after, std::memory_order_relaxed)) return next.has_value();
  }
}

std::int64_t Nanoseconds(Quotas::TimePoint now) {
  return std::chrono::duration_cast<nanoseconds>(now.time_since_epoch()).count();
}

Error RateRefusal(const snapshot::Partner& partner) {
  return MakeError(Reason::kRateExceeded, "partner " + partner.name + " may send " +
                                              std::to_string(partner.quota.rate_per_second) + " messages a second");
}
Error VolumeRefusal(const snapshot::Partner& partner) {
  return MakeError(Reason::kDailyVolumeExceeded, "partner " + partner.name + " may send " +
                                                     std::to_string(partner.quota.messages_per_day) +
                                                     " messages a day (UTC), and has");
}
// More than the day may have is never sent, whatever the day.
Error RecipientsRefusal(const snapshot::Partner& partner, std::uint64_t recipients) {
  const std::uint64_t most = partner.quota.recipients_per_day;
  return MakeError(recipients > most ? Reason::kRecipientsExceeded : Reason::kDailyVolumeExceeded,
                   "partner " + partner.name + " may send to " + std::to_string(most) + " recipients a day (UTC)");
}

}  // namespace

Charge& Charge::operator=(Charge&& other) noexcept {
  if (this != &other) {
    GiveBack();
    counters_ = std::move(other.counters_);
    messages_day_ = other.messages_day_;
    recipients_day_ = other.recipients_day_;
    recipients_ = other.recipients_;
  }
  return *this;
}

void Charge::GiveBack() {
  if (counters_ == nullptr) return;
  counters_->messages.GiveBack(messages_day_, 1);
  counters_->recipients.GiveBack(recipients_day_, recipients_);
  counters_.reset();
}

Result<Charge> Quotas::Take(const snapshot::Partner& partner, std::size_t recipients, TimePoint now) {
  const snapshot::Quota& quota = partner.quota;
  const std::uint16_t day = DayOf(now);
  const std::uint64_t counted = std::max<std::uint64_t>(1, recipients);
  auto counters = FindOrMake(partner.name);
  // The rate first: a flood stops here.
  if (quota.rate_per_second != 0 && !TakeRate(counters->full_at, quota, Nanoseconds(now))) return RateRefusal(partner);
  const auto messages_day = counters->messages.Take(day, 1, quota.messages_per_day);
  if (!messages_day) return VolumeRefusal(partner);
  const auto recipients_day = counters->recipients.Take(day, counted, quota.recipients_per_day);
  if (!recipients_day) {
    counters->messages.GiveBack(*messages_day, 1);
    return RecipientsRefusal(partner, counted);
  }
  return Charge(std::move(counters), *messages_day, *recipients_day, counted);
}

Status Quotas::Look(const snapshot::Partner& partner, std::size_t recipients, TimePoint now) const {
  const snapshot::Quota& quota = partner.quota;
  const auto counters = Find(partner.name);
  const PartnerCounters none;
  const PartnerCounters& present = counters != nullptr ? *counters : none;
  const std::uint16_t day = DayOf(now);
  if (quota.rate_per_second != 0 && !TakeToken(present.full_at.load(), quota, Nanoseconds(now)))
    return RateRefusal(partner);
  if (quota.messages_per_day != kNoLimit && present.messages.On(day) + 1 > quota.messages_per_day)
    return VolumeRefusal(partner);
  const std::uint64_t counted = std::max<std::uint64_t>(1, recipients);
  if (quota.recipients_per_day != kNoLimit && present.recipients.On(day) + counted > quota.recipients_per_day)
    return RecipientsRefusal(partner, counted);
  return Ok();
}

void Quotas::Restore(std::string_view partner, std::uint64_t messages, std::uint64_t recipients,
                     std::chrono::sys_days day) {
  const auto counters = FindOrMake(partner);
  counters->messages.Take(DayOf(day), messages, kNoLimit);
  counters->recipients.Take(DayOf(day), recipients, kNoLimit);
}

Quotas::Used Quotas::Use(std::string_view partner, TimePoint now) const {
  const auto counters = Find(partner);
  if (counters == nullptr) return {};
  return {counters->messages.On(DayOf(now)), counters->recipients.On(DayOf(now))};
}

void Quotas::Retain(const snapshot::Snapshot& snapshot, TimePoint now) {
  const std::uint16_t day = DayOf(now);
  for (Shard& shard : shards_) {
    const std::unique_lock lock(shard.mutex);
    erase_if(shard.counters, [&](const auto& entry) {
      return entry.second->messages.On(day) == 0 && snapshot.FindPartner(entry.first) == nullptr;
    });
  }
}

std::shared_ptr<PartnerCounters> Quotas::Find(std::string_view partner) const {
  const Shard& shard = ShardOf(partner);
  const std::shared_lock lock(shard.mutex);
  const auto found = shard.counters.find(partner);
  return found == shard.counters.end() ? nullptr : found->second;
}

std::shared_ptr<PartnerCounters> Quotas::FindOrMake(std::string_view partner) {
  if (auto found = Find(partner)) return found;
  Shard& shard = ShardOf(partner);
  const std::unique_lock lock(shard.mutex);
  auto& counters = shard.counters[std::string(partner)];
  if (counters == nullptr) counters = std::make_shared<PartnerCounters>();
  return counters;
}

}  // namespace hallmark::admission
