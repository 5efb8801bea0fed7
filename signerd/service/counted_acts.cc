#include "signerd/service/counted_acts.h"

namespace hallmark::service {
namespace {

// Certificates are signed by the operators' CA, so there are few; should there be many all the same, memory stays
// bounded.
constexpr std::size_t kMostKinds = 1000;

}  // namespace

CountedActs::Added CountedActs::Add(AdminAct act) {
  act.clear_request();
  act.clear_request_sha256();
  act.clear_changes();
  act.clear_count();
  const std::lock_guard lock(mutex_);
  if (kinds_.size() >= kMostKinds) {
    act.clear_certificate();
    act.clear_operator_();
  }
  const bool none_known = kinds_.empty();
  const auto [kind, first] = kinds_.try_emplace(act.SerializeAsString(), act);
  kind->second.set_count(kind->second.count() + 1);
  return {first, none_known};
}

std::map<std::string, CountedActs::AdminAct> CountedActs::TakeCounted() {
  const std::lock_guard lock(mutex_);
  std::map<std::string, AdminAct> counted;
  for (auto& [key, act] : kinds_) {
    if (act.count() == 0) continue;
    counted.emplace(key, act);
    act.set_count(0);
  }
  return counted;
}

void CountedActs::Flush(const Journal& journal) {
  for (const auto& [key, act] : TakeCounted()) {
    if (journal(act)) continue;
    const std::lock_guard lock(mutex_);
    const auto [kind, gone] = kinds_.try_emplace(key, act);
    if (!gone) kind->second.set_count(kind->second.count() + act.count());
  }
}

bool CountedActs::Tick(const Journal& journal) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(kinds_, [](const auto& kind) { return kind.second.count() == 0; });
  }
  Flush(journal);
  const std::lock_guard lock(mutex_);
  return !kinds_.empty();
}

}  // namespace hallmark::service
