#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "hallmark/watch/v1/profile.pb.h"

// What is usual for one sender. Plain values; time comes with each call. One thread.
namespace hallmark::watch {

// Mean and deviation of a value, weighing the newest most (EWMA), and its slowly fading peak.
struct Average {
  double mean = 0, variance = 0, peak = 0;
  // `weight` of the new value; `fade` is what is left of the peak.
  void Add(double value, double weight, double fade);
  double deviation() const;
};

// A count in buckets of one length, aligned to the clock, against what is usual in such a bucket.
class Window {
 public:
  Window(std::chrono::seconds length, double weight) : length_(length), weight_(weight) {}

  // Ends the buckets before `now`, the empty ones too. True when one ended; what it held is in last(). Where the clock
  // went back the present bucket begins anew: it must not hold the same minutes twice.
  bool Advance(std::chrono::sys_seconds now);
  void Add(double value) { sum_ += value; }
  void Clear() { sum_ = 0; }  // the present bucket
  // The clock was set forward: the present bucket ends unlearnt, and none is empty between it and the next.
  void Restart() {
    sum_ = 0;
    bucket_ = -1;
  }
  double sum() const { return sum_; }
  double last() const { return last_; }
  // A value above this many is unusual. `expected` (a bucket) is known from elsewhere, as from the time of day.
  double Limit(double expected) const;
  // What is learnt of one bucket at most: an attack must not become usual at once.
  void SetCeiling(double ceiling) { ceiling_ = ceiling; }
  double ceiling() const { return ceiling_; }  // 0: none yet
  std::chrono::seconds length() const { return length_; }
  Average& average() { return average_; }
  const Average& average() const { return average_; }

 private:
  std::chrono::seconds length_;
  double weight_;
  Average average_;
  double sum_ = 0, last_ = 0, ceiling_ = 0;
  std::int64_t bucket_ = -1;     // -1: none yet
  std::chrono::sys_seconds at_;  // the last Advance
};

// Which authors a partner has had: two Bloom filters that take turns, so that it forgets what is old.
class Authors {
 public:
  // Adds it. True when it was new.
  bool Add(std::uint64_t hash);
  void Write(hallmark::watch::v1::Profile& out) const;
  void Read(const hallmark::watch::v1::Profile& in);

 private:
  static constexpr std::size_t kBits = 1 << 16;
  static constexpr std::uint32_t kMost = 8000;  // then about two in a hundred new ones are taken for known
  std::string now_ = std::string(kBits / 8, '\0'), before_ = now_;
  std::uint32_t added_ = 0;
};

// A partner's hours of the week, from Monday 0:00 UTC.
class Week {
 public:
  static constexpr std::size_t kHours = 168;
  // No more than `ceiling` is learnt of an hour, unless it is 0: then it learns all.
  void Advance(std::chrono::sys_seconds now, double ceiling);
  void Add(double value) { sum_ += value; }
  void Clear() { sum_ = 0; }  // the present hour
  // As a window's.
  void Restart() {
    sum_ = 0;
    hour_ = -1;
  }
  double sum() const { return sum_; }
  // Messages in the present hour of other weeks; 0 while there was none.
  double usual(std::chrono::sys_seconds now) const;
  // Whether the present hour and its neighbours have been quiet for two weeks or more, while others were not.
  bool IsQuiet(std::chrono::sys_seconds now) const;
  double average() const;  // an hour of the whole week
  void Write(hallmark::watch::v1::Profile& out) const;
  void Read(const hallmark::watch::v1::Profile& in);

 private:
  bool WasQuiet(std::size_t slot) const;
  // Ends the present hour.
  void Learn(std::size_t slot, double ceiling);

  std::array<double, kHours> hours_{};
  std::array<std::uint32_t, kHours> weeks_{};  // in a row in which the partner sent
  std::bitset<kHours> once_;                   // had an event the week before, and was quiet until then
  double sum_ = 0;
  std::int64_t hour_ = -1;  // since 1970; -1: none yet
};

inline constexpr double kMinNewAuthors = 50;  // in ten minutes
inline constexpr double kMinSizes = 50;       // the same

// The newest value's weight: an hour of minutes, six hours of tens, two days of hours.
inline std::array<Window, 3> Windows() {
  return {Window(std::chrono::minutes(1), 1.0 / 60), Window(std::chrono::minutes(10), 1.0 / 36),
          Window(std::chrono::minutes(60), 1.0 / 48)};
}
// One signing domain of a partner.
struct DomainProfile {
  std::chrono::sys_seconds first_seen, last_seen;
  std::array<Window, 3> volume = Windows();
  bool is_mended = false;  // see MendFirst
};

// A partner as a whole.
struct PartnerProfile {
  std::chrono::sys_seconds first_seen, last_seen;
  std::array<Window, 3> volume = Windows();
  bool is_mended = false;  // see MendFirst
  Window refusals{std::chrono::minutes(1), 1.0 / 120};
  Window octets{std::chrono::minutes(60), 1.0 / 48};
  // In ten minutes: authors looked at, and the new ones among them.
  Window looked_at{std::chrono::minutes(10), 1.0 / 36}, new_ones{std::chrono::minutes(10), 1.0 / 36};
  Average new_share;
  double most_share = 1;  // what is learnt of one at most
  // In ten minutes: messages whose size is known, and the binary logarithms of their octets, which one large attachment
  // does not change much.
  Window sized{std::chrono::minutes(10), 1.0 / 36}, size_logarithms{std::chrono::minutes(10), 1.0 / 36};
  Authors authors;
  Week week;
  // Messages of each of the last sixty seconds.
  std::array<std::uint32_t, 60> seconds{};
  std::chrono::sys_seconds second;

  void Advance(std::chrono::sys_seconds now) {
    for (Window& window : volume) window.Advance(now);
    refusals.Advance(now);
    octets.Advance(now);
    week.Advance(now, volume[2].ceiling());
    for (Window* window : {&looked_at, &sized, &size_logarithms}) window->Advance(now);
    if (new_ones.Advance(now) && looked_at.last() >= kMinNewAuthors) {
      new_share.Add(std::min(new_ones.last() / looked_at.last(), most_share), 1.0 / 36, 1);
    }
    if (now < second) {  // the clock went back: nothing would be forgotten until it is where it was
      seconds.fill(0);
      second = now;
    }
    for (; second < now; second += std::chrono::seconds(1)) {
      if (now - second > std::chrono::minutes(1)) second = now - std::chrono::minutes(1);
      seconds[static_cast<std::size_t>((second.time_since_epoch().count() + 1) % 60)] = 0;
    }
  }
  // What came lately is no part of what comes next.
  void Clear() {
    for (Window& window : volume) window.Clear();
    for (Window* window : {&refusals, &octets, &looked_at, &new_ones, &sized, &size_logarithms}) window->Clear();
    week.Clear();
    seconds.fill(0);
  }
  // The clock was set forward.
  void Restart() {
    for (Window& window : volume) window.Restart();
    for (Window* window : {&refusals, &octets, &looked_at, &new_ones, &sized, &size_logarithms}) window->Restart();
    week.Restart();
    seconds.fill(0);
  }
  // Octets of a message; 0: not known.
  double UsualSize() const {
    const double messages = volume[2].average().mean;
    return messages > 0 ? octets.average().mean / messages : 0;
  }
  std::uint64_t LastMinute() const {
    std::uint64_t sum = 0;
    for (const std::uint32_t count : seconds) sum += count;
    return sum;
  }
};

// A first time that lies ahead is of a clock that went back. By the present one it has been known for as long as it had
// been when it was seen last; and where that one is set forward, so has the first time to be.
template <class Profile>
void MendFirst(Profile& profile, std::chrono::sys_seconds now) {
  if (profile.first_seen <= now) return;
  profile.first_seen = now - std::max(profile.last_seen - profile.first_seen, std::chrono::seconds(0));
  profile.is_mended = true;
}

}  // namespace hallmark::watch
