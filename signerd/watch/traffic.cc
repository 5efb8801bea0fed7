#include "signerd/watch/traffic.h"

#include <functional>
#include <thread>

#include "firmware/runtime/fnv1a.h"

namespace hallmark::watch {

bool IsSendersDoing(Reason reason) {
  switch (reason) {
    case Reason::kOverloaded:
    case Reason::kDeadlineExceeded:
    case Reason::kCancelled:
    case Reason::kShuttingDown:
    case Reason::kLedgerUnavailable:
    case Reason::kTokenDown:
    case Reason::kTokenRefused:
    case Reason::kPinRejected:
    case Reason::kKeyMissing:
    case Reason::kKeyMismatch:
    case Reason::kSignatureInvalid:
    case Reason::kDnsUnavailable:
    case Reason::kDnsRefused:
    case Reason::kRecordConflict:
    case Reason::kRecordNotVisible:
    case Reason::kConfigInvalid:
    case Reason::kStorageFailed:
    case Reason::kIoFailed:
    case Reason::kInternal: return false;
    default: return true;
  }
}

std::uint64_t HashAuthor(std::string_view address) {
  std::uint64_t hash = kFnv1aBasis;
  for (const char c : address) hash = Fnv1a(hash, c);
  return hash;
}

void Traffic::Add(const pipeline::Answered& answered) noexcept {
  if (answered.refusal && !IsSendersDoing(*answered.refusal)) return;
  const std::uint64_t author = answered.refusal ? 0 : HashAuthor(answered.author);
  // By thread, not by name, so that a single busy partner does not make all threads wait for one lock.
  Shard& shard = shards_[std::hash<std::thread::id>()(std::this_thread::get_id()) % kShards];
  const std::lock_guard lock(shard.mutex);
  auto partner = shard.partners.find(answered.partner);
  if (partner == shard.partners.end()) {
    if (shard.keys >= kMostKeys / kShards) {
      ++dropped_;
      return;
    }
    partner = shard.partners.emplace(std::string(answered.partner), ByDomain()).first;
  }
  auto domain = partner->second.find(answered.signing_domain);
  if (domain == partner->second.end()) {
    if (shard.keys >= kMostKeys / kShards) {
      ++dropped_;
      return;
    }
    ++shard.keys;
    domain = partner->second.emplace(std::string(answered.signing_domain), Count()).first;
  }
  Count& count = domain->second;
  if (answered.refusal) {
    ++count.refused;
    return;
  }
  ++count.signed_messages;
  count.octets += answered.octets;
  if (count.authors.size() < kMostAuthors) count.authors.push_back(author);
}

Tick Traffic::Take() {
  Tick tick;
  for (Shard& shard : shards_) {
    snapshot::NameMap<ByDomain> taken;
    {
      const std::lock_guard lock(shard.mutex);
      taken.swap(shard.partners);
      shard.keys = 0;
    }
    for (auto& [partner, domains] : taken) {
      for (auto& [domain, count] : domains) {
        Count& sum = tick[{partner, domain}];
        sum.signed_messages += count.signed_messages;
        sum.octets += count.octets;
        sum.refused += count.refused;
        sum.authors.insert(sum.authors.end(), count.authors.begin(), count.authors.end());
      }
    }
  }
  return tick;
}

}  // namespace hallmark::watch
