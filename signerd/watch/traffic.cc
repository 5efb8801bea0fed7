#include "signerd/watch/traffic.h"

#include <cstdlib>
#include <functional>
#include <thread>

#include "firmware/runtime/fnv1a.h"

namespace hallmark::watch {

// No default: a new Reason does not compile until it is chosen. One that is wrongly the sender's may suspend it.
bool IsSendersDoing(Reason reason) {
  using enum Reason;
  switch (reason) {
    case kInvalidArgument:
    case kMessageTooLarge:
    case kHeaderTooLarge:
    case kHeaderMalformed:
    case kFromMissing:
    case kFromRepeated:
    case kFromUnusable:
    case kBareLineEnding:
    case kCallerUnknown:
    case kCertificateRevoked:
    case kDomainNotAllowed:
    case kDomainNotConfigured:
    case kPartnerUnknown:
    case kPartnerNotAllowed:
    case kPartnerNotValid:
    case kAuthorNotAllowed:
    case kNotAligned:
    case kFieldForbidden:
    case kFieldRequired:
    case kSizeNotAllowed:
    case kRateExceeded:
    case kDailyVolumeExceeded:
    case kRecipientsExceeded:
    case kRequestIdReused: return true;
    // The signer's keys, room, time, token, records and disks.
    case kNoActiveKey:
    case kOverloaded:
    case kDeadlineExceeded:
    case kCancelled:
    case kShuttingDown:
    case kLedgerUnavailable:
    case kTokenDown:
    case kTokenRefused:
    case kPinRejected:
    case kKeyMissing:
    case kKeyMismatch:
    case kSignatureInvalid:
    case kDnsUnavailable:
    case kDnsRefused:
    case kRecordConflict:
    case kRecordNotVisible:
    case kConfigInvalid:
    case kStorageFailed:
    case kIoFailed:
    case kInternal:
    // The operators', or the watcher's: its mail would make what comes of a suspension usual.
    case kPartnerSuspended:
    case kPartnerRevoked:
    // Of operators' calls only.
    case kLoginRequired:
    case kLoginRefused:
    case kLockedOut:
    case kRoleNotAllowed:
    case kApprovalRequired:
    case kNotFound:
    case kAlreadyExists:
    case kStateConflict: return false;
  }
  std::abort();  // Unreachable: Reason values come only from this program.
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
