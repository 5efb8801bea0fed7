#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"
#include "signerd/snapshot/snapshot.h"

namespace hallmark::admission {

struct PartnerCounters;

// What a message was counted as in its partner's day. Given back when it goes away, unless it was kept: a day's volume
// counts what was signed. What it took of the rate is not given back: that bounds attempts.
class Charge {
 public:
  Charge() = default;
  Charge(Charge&& other) noexcept = default;
  Charge& operator=(Charge&& other) noexcept;
  ~Charge() { GiveBack(); }

  // The message was signed.
  void Keep() { counters_.reset(); }

 private:
  friend class Quotas;
  Charge(std::shared_ptr<PartnerCounters> counters, std::uint16_t messages_day, std::uint16_t recipients_day,
         std::uint64_t recipients)
      : counters_(std::move(counters)),
        messages_day_(messages_day),
        recipients_day_(recipients_day),
        recipients_(recipients) {}
  void GiveBack();
  std::shared_ptr<PartnerCounters> counters_;
  // Where each was counted: near midnight another thread may have begun the next day.
  std::uint16_t messages_day_ = 0, recipients_day_ = 0;
  std::uint64_t recipients_ = 0;
};

// How much each partner has sent: a token bucket for the rate, and counters of the day (UTC). Counts by the partner's
// name, so it outlives snapshots; limits come with each call. Any thread: the counters are atomic, and the map from
// names to them is only locked for writing when a name is new.
class Quotas {
 public:
  using TimePoint = std::chrono::system_clock::time_point;

  // Counts one message. kRateExceeded, kDailyVolumeExceeded, and where it has more recipients than a whole day may
  // kRecipientsExceeded: then nothing was counted in the day.
  // A message whose relay names no recipients counts as one with one.
  Result<Charge> Take(const snapshot::Partner& partner, std::size_t recipients, TimePoint now);
  // What Take would say, without counting.
  Status Look(const snapshot::Partner& partner, std::size_t recipients, TimePoint now) const;

  // For a start: what the partner had sent on `day`.
  void Restore(std::string_view partner, std::uint64_t messages, std::uint64_t recipients, std::chrono::sys_days day);

  struct Used {
    std::uint64_t messages = 0, recipients = 0;
  };
  // Since midnight UTC.
  Used Use(std::string_view partner, TimePoint now) const;

  // Forgets partners that `snapshot` does not have, when their day is over: one that is taken out and put back has no
  // new day's volume. After each change of the policy: so there are no more counters than partners, and those that
  // went today.
  void Retain(const snapshot::Snapshot& snapshot, TimePoint now);

 private:
  struct Shard {
    mutable std::shared_mutex mutex;  // guards counters; what they point to is atomic
    snapshot::NameTable<std::shared_ptr<PartnerCounters>> counters;
  };
  Shard& ShardOf(std::string_view partner) const { return shards_[snapshot::StringHash()(partner) % shards_.size()]; }
  std::shared_ptr<PartnerCounters> Find(std::string_view partner) const;
  std::shared_ptr<PartnerCounters> FindOrMake(std::string_view partner);
  mutable std::array<Shard, 64> shards_;
};

}  // namespace hallmark::admission
