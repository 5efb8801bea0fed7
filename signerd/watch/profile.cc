#include "signerd/watch/profile.h"

#include <algorithm>
#include <cmath>

namespace hallmark::watch {
namespace {

constexpr std::chrono::seconds kPeakLife = std::chrono::days(10);  // in which a peak fades to a half
constexpr std::int64_t kMostEmpty = 1000;                          // buckets in a row that are looked at one by one
constexpr double kHourWeight = 0.3;                                // of the newest week
constexpr double kQuiet = 0.02;                                    // of an hour of the whole week
constexpr double kOneEvent = 0.8;                                  // of what ends the quiet
constexpr double kSends = 1;                                       // an hour of the whole week: else nothing is quiet
// Of the number of weeks, as it is kept: once_. Versions before this one kept numbers alone.
constexpr std::uint32_t kOnce = 1u << 31;
// Several times what is usual, and far outside of its noise.
constexpr double kTimes = 3, kDeviations = 6;

std::int64_t HourOf(std::chrono::sys_seconds now) {
  return std::chrono::floor<std::chrono::hours>(now).time_since_epoch().count();
}
// 1970-01-01 was a Thursday.
std::size_t SlotOf(std::int64_t hour) { return static_cast<std::size_t>((hour + 3 * 24) % 168); }

}  // namespace

void Average::Add(double value, double weight, double fade) {
  const double off = value - mean;
  mean += weight * off;
  variance = (1 - weight) * (variance + weight * off * off);
  peak = std::max(value, peak * fade);
}

// Mail comes at random, so it is never steadier than a Poisson process.
double Average::deviation() const { return std::sqrt(std::max({variance, mean, 1.0})); }

bool Window::Advance(std::chrono::sys_seconds now) {
  const std::int64_t bucket = now.time_since_epoch() / length_;
  if (bucket_ < 0) bucket_ = bucket;
  if (now < at_) {
    sum_ = 0;
    bucket_ = bucket;
  }
  at_ = now;
  if (bucket <= bucket_) return false;
  const double fade = std::exp2(-static_cast<double>(length_.count()) / static_cast<double>(kPeakLife.count()));
  last_ = sum_;
  average_.Add(ceiling_ > 0 ? std::min(sum_, ceiling_) : sum_, weight_, fade);
  const std::int64_t empty = bucket - bucket_ - 1;
  for (std::int64_t i = 0; i < std::min(empty, kMostEmpty); ++i) average_.Add(0, weight_, fade);
  if (empty > 0) last_ = 0;
  sum_ = 0;
  bucket_ = bucket;
  return true;
}

double Window::Limit(double expected) const {
  const double usual = std::max(average_.mean, expected);
  const double deviation = std::max(average_.deviation(), std::sqrt(usual));
  return std::max(kTimes * usual + kDeviations * deviation, average_.peak * 1.2);
}

bool Authors::Add(std::uint64_t hash) {
  bool known_now = true, known_before = true;
  const std::uint64_t step = (hash >> 32) | 1;
  for (std::uint64_t i = 0; i < 4; ++i) {
    const std::size_t bit = (hash + i * step) % kBits;
    const auto mask = static_cast<char>(1 << (bit % 8));
    known_now = known_now && (now_[bit / 8] & mask) != 0;
    known_before = known_before && (before_[bit / 8] & mask) != 0;
    now_[bit / 8] = static_cast<char>(now_[bit / 8] | mask);
  }
  if (!known_now && ++added_ >= kMost) {
    before_ = std::move(now_);
    now_.assign(kBits / 8, '\0');
    added_ = 0;
  }
  return !known_now && !known_before;
}

void Authors::Write(v1::Profile& out) const {
  out.set_authors_now(now_);
  out.set_authors_before(before_);
  out.set_authors_added(added_);
}

void Authors::Read(const v1::Profile& in) {
  if (in.authors_now().size() != kBits / 8 || in.authors_before().size() != kBits / 8) return;
  now_ = in.authors_now();
  before_ = in.authors_before();
  added_ = in.authors_added();
}

void Week::Advance(std::chrono::sys_seconds now, double ceiling) {
  const std::int64_t hour = HourOf(now);
  if (hour_ < 0) hour_ = hour;
  if (hour < hour_) {  // the clock went back
    sum_ = 0;
    hour_ = hour;
  }
  for (std::int64_t i = 0; hour_ < hour && i < kMostEmpty; ++hour_, ++i) {
    Learn(SlotOf(hour_), ceiling);
    sum_ = 0;
  }
  hour_ = std::max(hour_, hour);
}

// One event leaves an hour quiet, and the same hour a week later does not: by number, since what is quiet follows the
// average, which rises as other hours are learnt.
void Week::Learn(std::size_t slot, double ceiling) {
  const double weight = std::max(kHourWeight, 1.0 / (weeks_[slot] + 1)), whole = average();
  double learnt = ceiling > 0 ? std::min(sum_, ceiling) : sum_;
  const bool is_event = ceiling > 0 && whole >= kSends && WasQuiet(slot) && sum_ > kQuiet * whole;
  const bool is_first = is_event && !once_[slot];
  if (is_first) learnt = std::min(learnt, kOneEvent * kQuiet * whole / weight);
  once_[slot] = is_first;
  hours_[slot] += (learnt - hours_[slot]) * weight;
  // While a partner sends next to nothing no hour is quieter than another.
  weeks_[slot] = whole >= kSends ? weeks_[slot] + 1 : 0;
}

double Week::usual(std::chrono::sys_seconds now) const {
  const std::int64_t hour = HourOf(now);
  // What comes with the hour may come some minutes early or late.
  return std::max({hours_[SlotOf(hour - 1)], hours_[SlotOf(hour)], hours_[SlotOf(hour + 1)]});
}

double Week::average() const {
  double sum = 0;
  for (const double hour : hours_) sum += hour;
  return sum / kHours;
}

bool Week::WasQuiet(std::size_t slot) const { return weeks_[slot] >= 2 && hours_[slot] <= average() * kQuiet; }

bool Week::IsQuiet(std::chrono::sys_seconds now) const {
  const std::int64_t hour = HourOf(now);
  for (const std::int64_t near : {hour - 1, hour, hour + 1}) {
    if (near != hour && near == hour_) continue;
    if (!WasQuiet(SlotOf(near))) return false;
  }
  return average() >= kSends;
}

void Week::Write(v1::Profile& out) const {
  for (const double hour : hours_) out.add_hours(hour);
  for (std::size_t i = 0; i < kHours; ++i) out.add_weeks(weeks_[i] | (once_[i] ? kOnce : 0));
}

void Week::Read(const v1::Profile& in) {
  if (in.hours_size() != static_cast<int>(kHours) || in.weeks_size() != static_cast<int>(kHours)) return;
  std::copy(in.hours().begin(), in.hours().end(), hours_.begin());
  for (std::size_t i = 0; i < kHours; ++i) {
    const std::uint32_t weeks = in.weeks(static_cast<int>(i));
    weeks_[i] = weeks & ~kOnce;
    once_[i] = (weeks & kOnce) != 0;
  }
}

}  // namespace hallmark::watch
