#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "signerd/snapshot/partner.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/watch/profile.h"
#include "signerd/watch/settings.h"
#include "signerd/watch/traffic.h"

namespace hallmark::watch {

struct Alarm {
  std::string kind;  // SURGE, DORMANT_DOMAIN, REFUSAL_BURST, AUTHOR_CHANGE, SIZE_CHANGE, HARD_LIMIT, OFF_HOURS; the
                     // watcher's own: LEDGER_UNAVAILABLE, ROTATION_STUCK, CLOCK_NOT_SET, HEALTH
  std::string partner, signing_domain;
  std::string message;  // a sentence for a person
};

// Learns what is usual for each partner and signing domain, and says what is not. No I/O, no clock of its own. An event
// is told once: what goes on is not told again, and neither is the same within the cool-down. A partner that is let in
// again begins anew: what it sends from then on is counted and told. One thread.
class Detector {
 public:
  // Some 20 kB each. As many as can come in between two looks: or those of one look would displace each other.
  static constexpr std::size_t kMostPartners = Traffic::kMostKeys;
  static constexpr std::size_t kMostDomains = 200'000;

  explicit Detector(const Settings& settings) : settings_(settings) {}

  // What came in since the last call. To be called about once a second. `steady` tells by how much the clock was set.
  std::vector<Alarm> Step(const Tick& tick, const snapshot::Snapshot& view, std::chrono::sys_seconds now,
                          std::chrono::steady_clock::time_point steady);

  // It was suspended just now, and counts as let in again once a view has it active.
  void NoteSuspended(const std::string& partner) { stopped_.insert(partner); }

  // A profile by its key, serialized; empty: it is gone. Those that changed since the last call.
  using Saved = std::map<std::string, std::string>;
  Saved TakeChanged();
  // They could not be kept, and have changed still.
  void PutBack(const Saved& saved);
  // For a start. What does not parse, or is of a partner that the view does not have, is forgotten.
  void Restore(const Saved& saved, const snapshot::Snapshot& view);

  std::size_t profiles() const { return partners_.size() + domains_.size(); }

 private:
  using DomainKey = std::pair<std::string, std::string>;

  // Moves what was noted by a clock that was set forward since.
  void SeeClock(std::chrono::sys_seconds now, std::chrono::steady_clock::time_point steady);
  void Move(std::chrono::seconds ahead);
  PartnerProfile* FindPartner(const std::string& name, std::chrono::sys_seconds now);
  bool IsLearning(std::chrono::sys_seconds first_seen, std::chrono::sys_seconds now) const {
    return now - first_seen < settings_.learning;
  }
  // Whether it was told of lately, or goes on since it was.
  bool IsTold(const std::string& kind, const std::string& subject, std::chrono::sys_seconds now) const;
  // Raises it unless it is told.
  void Raise(const Alarm& alarm, const std::string& subject, std::chrono::sys_seconds now, std::vector<Alarm>& out);
  void LookAtStates(const snapshot::Snapshot& view);
  void BeginAnew(const std::string& partner);
  void LookAtVolume(const std::string& name, const std::string& domain, std::array<Window, 3>& windows, double hour,
                    std::chrono::sys_seconds now, std::vector<Alarm>& out);
  void LookAtDomain(const DomainKey& key, const Count& count, const PartnerProfile& partner,
                    std::chrono::sys_seconds now, std::vector<Alarm>& out);
  void LookAtSizes(const std::string& name, PartnerProfile& partner, std::chrono::sys_seconds now,
                   std::vector<Alarm>& out);
  void LookAtPartner(const std::string& name, PartnerProfile& partner, std::int64_t hard_limit,
                     std::chrono::sys_seconds now, std::vector<Alarm>& out);

  const Settings settings_;
  std::map<std::string, PartnerProfile> partners_;
  std::map<DomainKey, DomainProfile> domains_;
  // By kind and subject: until when it is not told again. As long as it goes on it is put off.
  std::map<std::string, std::chrono::sys_seconds> told_;
  std::set<std::string> changed_;  // keys of profiles
  std::set<std::string> stopped_;  // partners that were not active at the last look
  // The last call, and the first and the latest time since the clock was last set; none: it was not called yet.
  struct Seen {
    std::chrono::sys_seconds now, first, latest;
    std::chrono::steady_clock::time_point steady;
  };
  std::optional<Seen> clock_;
};

}  // namespace hallmark::watch
