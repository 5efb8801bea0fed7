#include "signerd/watch/detector.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

namespace hallmark::watch {
namespace {

using std::chrono::minutes;
using std::chrono::sys_seconds;

// How much of the least volume a minute a longer window needs.
constexpr std::array<double, 3> kVolumes = {1, 3, 6};
constexpr double kMinRefusals = 20;  // a minute
constexpr double kTimesLarger = 4;
constexpr double kMostShare = 0.95;  // of new authors: noise alone makes no more of them usual
constexpr minutes kClockIsSet{1};    // what is less is the slack of a clock that runs
constexpr double kLeastSize = 100;   // octets; what is less is of a partner whose relays have not told sizes
constexpr char kSeparator = '\n';    // in keys; no name has one

std::string Number(double value) { return std::to_string(static_cast<std::int64_t>(std::llround(value))); }
std::string SizeText(double octets) {
  return octets < 1e6 ? Number(std::max(1.0, octets / 1e3)) + " kB" : Number(octets / 1e6) + " MB";
}
std::string LengthText(std::chrono::seconds length) {
  return length == minutes(60) ? "an hour" : length == minutes(1) ? "a minute" : "ten minutes";
}
std::string WhoText(const std::string& partner) {
  return partner.empty() ? "callers of no known partner" : "partner " + partner;
}

void Write(const Average& from, v1::Average& to) {
  to.set_mean(from.mean);
  to.set_variance(from.variance);
  to.set_peak(from.peak);
}
Average Read(const v1::Average& from) { return {from.mean(), from.variance(), from.peak()}; }

sys_seconds TimeOf(std::int64_t seconds) { return sys_seconds(std::chrono::seconds(seconds)); }

}  // namespace

// Where there is no room the one that was quiet for longest goes. Gives its key.
template <class Map>
static std::optional<typename Map::key_type> MakeRoom(Map& map, std::size_t most) {
  if (map.size() < most) return std::nullopt;
  const auto stalest = std::min_element(map.begin(), map.end(), [](const auto& left, const auto& right) {
    return left.second.last_seen < right.second.last_seen;
  });
  return std::move(map.extract(stalest).key());
}

void Detector::SeeClock(sys_seconds now, std::chrono::steady_clock::time_point steady) {
  if (!clock_) clock_ = Seen{now, now, now, steady};
  const auto ahead = now - clock_->now - std::chrono::floor<std::chrono::seconds>(steady - clock_->steady);
  if (ahead > kClockIsSet) Move(ahead);
  if (ahead > kClockIsSet || ahead < -kClockIsSet) clock_->first = clock_->latest = now;
  clock_ = Seen{now, std::min(clock_->first, now), std::max(clock_->latest, now), steady};
}

// The time between has not been: nothing was quiet in it. What another clock noted stays where it is.
void Detector::Move(std::chrono::seconds ahead) {
  const auto move = [&](auto& profile) {
    const auto is_noted = [&](sys_seconds time) { return time >= clock_->first && time <= clock_->latest; };
    const bool first = std::exchange(profile.is_mended, false) || is_noted(profile.first_seen);
    const bool last = is_noted(profile.last_seen);
    if (first) profile.first_seen += ahead;
    if (last) profile.last_seen += ahead;
    return first || last;
  };
  for (auto& [name, partner] : partners_) {
    partner.Restart();
    if (move(partner)) changed_.insert(name);
  }
  for (auto& [key, domain] : domains_) {
    for (Window& window : domain.volume) window.Restart();
    if (move(domain)) changed_.insert(key.first + kSeparator + key.second);
  }
  for (auto& [key, until] : told_) until += ahead;
}

PartnerProfile* Detector::FindPartner(const std::string& name, sys_seconds now) {
  const auto found = partners_.find(name);
  if (found != partners_.end()) {
    MendFirst(found->second, now);
    return &found->second;
  }
  if (auto gone = MakeRoom(partners_, kMostPartners)) changed_.insert(std::move(*gone));
  PartnerProfile& made = partners_[name];
  made.first_seen = made.last_seen = made.second = now;
  return &made;
}

bool Detector::IsTold(const std::string& kind, const std::string& subject, sys_seconds now) const {
  const auto until = told_.find(kind + kSeparator + subject);
  return until != told_.end() && until->second > now;
}

void Detector::Raise(const Alarm& alarm, const std::string& subject, sys_seconds now, std::vector<Alarm>& out) {
  if (!IsTold(alarm.kind, subject, now)) out.push_back(alarm);
  told_[alarm.kind + kSeparator + subject] = now + settings_.cool_down;
}

void Detector::LookAtVolume(const std::string& name, const std::string& domain, std::array<Window, 3>& windows,
                            double hour, sys_seconds now, std::vector<Alarm>& out) {
  const std::string subject = domain.empty() ? name : name + kSeparator + domain;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    Window& window = windows[i];
    // The hour's volume may come within one bucket of it only where that was seen before, which the peak knows.
    const double expected = hour * static_cast<double>(window.length().count()) / 3600;
    const double least = static_cast<double>(settings_.min_volume) * kVolumes[i];
    const double limit = std::max(window.Limit(expected), least);
    window.SetCeiling(limit);
    if (window.sum() <= limit) continue;
    // That the partner as a whole has more than usual was told; its domains are part of that.
    if (!domain.empty() && IsTold("SURGE", name, now)) continue;
    Raise({"SURGE", name, domain,
           WhoText(name) + (domain.empty() ? "" : " for " + domain) + " had " + Number(window.sum()) + " messages in " +
               LengthText(window.length()) + "; usual are " + Number(std::max(window.average().mean, expected))},
          subject, now, out);
  }
}

void Detector::LookAtDomain(const DomainKey& key, const Count& count, const PartnerProfile& partner, sys_seconds now,
                            std::vector<Alarm>& out) {
  const auto& [name, domain_name] = key;
  auto found = domains_.find(key);
  const bool first = found == domains_.end();
  if (first) {
    if (const auto gone = MakeRoom(domains_, kMostDomains)) changed_.insert(gone->first + kSeparator + gone->second);
    found = domains_.emplace(key, DomainProfile{now, now}).first;
  }
  DomainProfile& domain = found->second;
  MendFirst(domain, now);
  if (!IsLearning(partner.first_seen, now)) {
    if (first && settings_.learning.count() != 0) {
      Raise({"DORMANT_DOMAIN", name, domain_name,
             WhoText(name) + " signs for " + domain_name + ", which it has never done before"},
            name + kSeparator + domain_name, now, out);
    } else if (now - domain.last_seen >= settings_.dormant) {
      const auto days = std::chrono::floor<std::chrono::days>(now - domain.last_seen).count();
      Raise({"DORMANT_DOMAIN", name, domain_name,
             WhoText(name) + " signs for " + domain_name + " again after " + std::to_string(days) + " days"},
            name + kSeparator + domain_name, now, out);
    }
  }
  domain.last_seen = now;
  for (Window& window : domain.volume) {
    window.Advance(now);
    window.Add(static_cast<double>(count.signed_messages));
  }
  if (!IsLearning(domain.first_seen, now)) {
    // A domain has no week of its own; its partner's tells how much of its volume may be due to the hour.
    LookAtVolume(name, domain_name, domain.volume, partner.week.usual(now), now, out);
  }
  changed_.insert(name + kSeparator + domain_name);
}

// More octets than ever in an hour, and it is the messages that are larger, not their number, nor a few among them.
void Detector::LookAtSizes(const std::string& name, PartnerProfile& partner, sys_seconds now, std::vector<Alarm>& out) {
  const double usual = partner.UsualSize(), sized = partner.sized.sum();
  const double limit = partner.octets.Limit(partner.week.usual(now) * usual);
  partner.octets.SetCeiling(usual < kLeastSize ? 0 : limit);
  if (usual < kLeastSize || sized < kMinSizes || partner.octets.sum() <= limit) return;
  const double typical = std::exp2(partner.size_logarithms.sum() / sized);
  if (typical < kTimesLarger * usual) return;
  Raise({"SIZE_CHANGE", name, "",
         Number(sized) + " messages of " + WhoText(name) + " in ten minutes had " + SizeText(typical) +
             " each as a rule; usual are " + SizeText(usual)},
        name, now, out);
}

void Detector::LookAtPartner(const std::string& name, PartnerProfile& partner, std::int64_t hard_limit, sys_seconds now,
                             std::vector<Alarm>& out) {
  const std::uint64_t last_minute = partner.LastMinute();
  if (hard_limit > 0 && last_minute > static_cast<std::uint64_t>(hard_limit)) {
    Raise({"HARD_LIMIT", name, "",
           WhoText(name) + " had " + std::to_string(last_minute) + " messages in a minute; its limit is " +
               std::to_string(hard_limit)},
          name, now, out);
  }
  if (IsLearning(partner.first_seen, now)) return;
  LookAtVolume(name, "", partner.volume, partner.week.usual(now), now, out);

  const double refused = partner.refusals.sum(), passed = partner.volume[0].sum();
  const double most_refused = std::max(partner.refusals.Limit(0), kMinRefusals);
  partner.refusals.SetCeiling(most_refused);
  if (refused > most_refused && refused >= 0.2 * (refused + passed)) {
    Raise({"REFUSAL_BURST", name, "",
           WhoText(name) + " had " + Number(refused) + " messages refused in a minute; usual are " +
               Number(partner.refusals.average().mean)},
          name, now, out);
  }
  const double looked_at = partner.looked_at.sum(), fresh = partner.new_ones.sum();
  // Where new ones are the rule, more of them than ever cannot be.
  const double mean = partner.new_share.mean + 0.1;
  const double usual = std::max(mean, std::min(mean + 6 * std::sqrt(partner.new_share.variance), kMostShare));
  partner.most_share = usual;
  if (fresh >= kMinNewAuthors && fresh >= 0.5 * looked_at && fresh / looked_at > usual) {
    Raise({"AUTHOR_CHANGE", name, "",
           "of " + Number(looked_at) + " messages of " + WhoText(name) + " in ten minutes " + Number(fresh) +
               " had authors that it has not had before"},
          name, now, out);
  }
  LookAtSizes(name, partner, now, out);
  const double enough = std::max(static_cast<double>(settings_.min_volume), 0.2 * partner.week.average());
  if (partner.week.sum() >= enough && partner.week.IsQuiet(now)) {
    Raise({"OFF_HOURS", name, "",
           WhoText(name) + " had " + Number(partner.week.sum()) + " messages in an hour of the week that is quiet"},
          name, now, out);
  }
}

void Detector::BeginAnew(const std::string& partner) {
  std::erase_if(told_, [&](const auto& entry) {
    const std::string_view key = entry.first, subject = key.substr(key.find(kSeparator) + 1);
    return subject.substr(0, subject.find(kSeparator)) == partner;
  });
  const auto found = partners_.find(partner);
  if (found != partners_.end()) found->second.Clear();
  for (auto domain = domains_.lower_bound({partner, ""}); domain != domains_.end() && domain->first.first == partner;
       ++domain) {
    for (Window& window : domain->second.volume) window.Clear();
  }
}

void Detector::LookAtStates(const snapshot::Snapshot& view) {
  std::set<std::string> stopped;
  for (const auto& [name, partner] : view.partners) {
    if (partner.state != snapshot::PartnerState::kActive) {
      stopped.insert(name);
    } else if (stopped_.contains(name)) {
      BeginAnew(name);
    }
  }
  stopped_ = std::move(stopped);
}

std::vector<Alarm> Detector::Step(const Tick& tick, const snapshot::Snapshot& view, sys_seconds now,
                                  std::chrono::steady_clock::time_point steady) {
  std::vector<Alarm> out;
  SeeClock(now, steady);
  std::erase_if(told_, [&](const auto& entry) {
    return entry.second <= now || entry.second > now + settings_.cool_down;  // the latter: the clock went back
  });
  LookAtStates(view);
  std::set<std::string> seen;
  for (const auto& [key, count] : tick) {
    PartnerProfile& partner = *FindPartner(key.first, now);
    if (seen.insert(key.first).second) partner.Advance(now);
    for (Window& window : partner.volume) window.Add(static_cast<double>(count.signed_messages));
    partner.refusals.Add(static_cast<double>(count.refused));
    partner.octets.Add(static_cast<double>(count.octets));
    if (count.signed_messages != 0 && count.octets != 0) {
      const auto messages = static_cast<double>(count.signed_messages);
      partner.sized.Add(messages);
      partner.size_logarithms.Add(messages * std::log2(static_cast<double>(count.octets) / messages));
    }
    partner.week.Add(static_cast<double>(count.signed_messages));
    partner.seconds[static_cast<std::size_t>(now.time_since_epoch().count() % 60)] +=
        static_cast<std::uint32_t>(count.signed_messages);
    for (const std::uint64_t author : count.authors) {
      partner.looked_at.Add(1);
      if (partner.authors.Add(author)) partner.new_ones.Add(1);
    }
    partner.last_seen = now;
  }
  // The partner first: a surge of it is told of as such, not as that of one of its domains.
  for (const std::string& name : seen) {
    const auto partner = partners_.find(name);
    if (partner == partners_.end()) continue;  // it made room: the clock went back, and all others were seen later
    const snapshot::Partner* settings = view.FindPartner(name);
    LookAtPartner(name, partner->second, settings == nullptr ? 0 : settings->watch.hard_limit_per_minute, now, out);
    changed_.insert(name);
  }
  for (const auto& [key, count] : tick) {
    if (key.second.empty() || count.signed_messages == 0) continue;
    const auto partner = partners_.find(key.first);
    if (partner != partners_.end()) LookAtDomain(key, count, partner->second, now, out);
  }
  return out;
}

Detector::Saved Detector::TakeChanged() {
  Saved saved;
  for (const std::string& key : changed_) {
    std::string& octets = saved[key];
    v1::Profile profile;
    const auto fill = [&](const auto& from) {
      profile.set_first_seen(from.first_seen.time_since_epoch().count());
      profile.set_last_seen(from.last_seen.time_since_epoch().count());
      for (const Window& window : from.volume) Write(window.average(), *profile.add_volume());
    };
    const std::size_t separator = key.find(kSeparator);
    if (separator != std::string::npos) {
      const auto found = domains_.find({key.substr(0, separator), key.substr(separator + 1)});
      if (found == domains_.end()) continue;
      fill(found->second);
    } else {
      const auto found = partners_.find(key);
      if (found == partners_.end()) continue;
      const PartnerProfile& partner = found->second;
      fill(partner);
      Write(partner.refusals.average(), *profile.mutable_refusals());
      Write(partner.octets.average(), *profile.mutable_octets());
      Write(partner.new_share, *profile.mutable_new_authors());
      partner.authors.Write(profile);
      partner.week.Write(profile);
    }
    octets = profile.SerializeAsString();
  }
  changed_.clear();
  return saved;
}

void Detector::PutBack(const Saved& saved) {
  for (const auto& [key, octets] : saved) changed_.insert(key);
}

void Detector::Restore(const Saved& saved, const snapshot::Snapshot& view) {
  for (const auto& [key, octets] : saved) {
    const std::size_t separator = key.find(kSeparator);
    const std::string name = key.substr(0, separator);
    const bool is_domain = separator != std::string::npos;
    const bool room = is_domain ? domains_.size() < kMostDomains : partners_.size() < kMostPartners;
    v1::Profile profile;
    if (!room || (!name.empty() && view.FindPartner(name) == nullptr) || !profile.ParseFromString(octets) ||
        profile.volume_size() != 3) {
      changed_.insert(key);  // it is gone, and goes from where it is kept
      continue;
    }
    const auto fill = [&](auto& to) {
      to.first_seen = TimeOf(profile.first_seen());
      to.last_seen = TimeOf(profile.last_seen());
      for (int i = 0; i < 3; ++i) to.volume[static_cast<std::size_t>(i)].average() = Read(profile.volume(i));
    };
    if (is_domain) {
      fill(domains_[{name, key.substr(separator + 1)}]);
      continue;
    }
    PartnerProfile& partner = partners_[key];
    fill(partner);
    partner.second = partner.last_seen;
    partner.refusals.average() = Read(profile.refusals());
    partner.octets.average() = Read(profile.octets());
    partner.new_share = Read(profile.new_authors());
    partner.authors.Read(profile);
    partner.week.Read(profile);
  }
}

}  // namespace hallmark::watch
