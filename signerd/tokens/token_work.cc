#include <algorithm>
#include <utility>

#include "signerd/dkim/limits.h"
#include "signerd/tokens/key_type.h"
#include "signerd/tokens/outcome_errors.h"
#include "signerd/tokens/token.h"

// What waits for the token, and what is with its tokend.
namespace hallmark::tokens {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kMaxAttempts = 2;
constexpr milliseconds kFrameTime{2};
constexpr std::size_t kMostAhead = 64;
// Of what is to be signed in one frame; one more fits in any case, as a header has its limit.
constexpr std::size_t kBatchOctets = link::kMaxFrame / 2;
static_assert(kBatchOctets + 2 * dkim::Limits{}.header_octets <= link::kMaxFrame);

// Others can make it too: a token that cannot now gives it back at once with kTokenDown, and keeps nothing for its next
// tokend. In the second round it is kept.
bool OthersCanMake(const Signing& signing) { return signing.race != nullptr && !signing.race->last; }

}  // namespace

void Token::Sign(std::vector<Signing> batch) {
  auto refusal = stopped_ ? MakeError(Reason::kShuttingDown, "the daemon is stopping") : Refusal();
  if (!refusal) refusal = StartsForLong();
  const auto now = steady_clock::now();
  for (Signing& signing : batch) {
    if (refusal) {
      signing.done(*refusal);
    } else if (now + pace_.TimeFor(waiting_.Ahead(signing.flow)) > signing.deadline) {
      signing.done(MakeError(Reason::kOverloaded, "token " + config_.name +
                                                      ": too much is waiting for it to be signed within the deadline"));
    } else {
      const Flow flow = signing.flow;
      waiting_.Push(flow, 1, Attempt{std::move(signing), {}, 0, 0, 0, false});
    }
  }
  Pump();
}

void Token::Pump() {
  // Where a frame cannot be sent there is no channel any more.
  while (status_.state == link::TokenState::kReady && channel_ != nullptr) {
    link::SignBatch batch = NextBatch();
    if (batch.items.empty()) return;
    channel_->Send(std::move(batch));
  }
}

link::SignBatch Token::NextBatch() {
  // So many that no session waits for a frame: one more for each, and what a fast token signs while a frame is on its
  // way.
  const std::size_t room = std::max<std::size_t>(1, status_.sessions) * 2 + pace_.CountIn(kFrameTime, kMostAhead);
  const auto now = steady_clock::now();
  link::SignBatch batch;
  auto latest = now;
  std::size_t octets = 0;
  while (!waiting_.empty() && in_flight_.size() < room && batch.items.size() < link::kMaxBatch &&
         octets < kBatchOctets) {
    Attempt attempt = waiting_.Pop();
    if (const auto reason = Gone(attempt.signing, now)) {
      attempt.signing.done(*reason);
      continue;
    }
    const KnownKey& key = Known(*attempt.signing.key);
    const bool hashes_rsa = key.wants_data || (status_.wants_data & 1) != 0;
    attempt.data = attempt.signing.raw ||
                   (hashes_rsa && TypeOf(attempt.signing.key->public_key->algorithm()) == link::KeyType::kRsa);
    link::SignItem item;
    item.id = next_id_++;
    item.key_ref = key.ref;
    item.kind = attempt.data ? link::InputKind::kData : link::InputKind::kDigest;
    const ByteView input = attempt.data ? AsBytes(*attempt.signing.signed_data) : ByteView(attempt.signing.digest);
    item.input.assign(input.begin(), input.end());
    octets += input.size();
    latest = std::max(latest, attempt.signing.deadline);
    ++attempt.attempts;
    attempt.sent = now;
    attempt.among = in_flight_.size() + 1;
    attempt.answers_before = answers_;
    in_flight_.emplace(item.id, std::move(attempt));
    batch.items.push_back(std::move(item));
  }
  const auto left = std::chrono::ceil<milliseconds>(latest - now).count();
  batch.timeout_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, 3'600'000));
  return batch;
}

void Token::OnResults(const link::SignResults& results) {
  const auto now = steady_clock::now();
  pace_.Learn(results.outcomes.size(), !waiting_.empty(), now);
  for (const link::SignOutcome& outcome : results.outcomes) {
    if (outcome.outcome != link::Outcome::kExpired) {  // not tokend's own clock
      NoteKeyWait(now);
      last_answer_ = now;
      ++answers_;
    }
    const auto found = in_flight_.find(outcome.id);
    if (found == in_flight_.end()) continue;  // answered before: its deadline had passed
    Attempt attempt = std::move(found->second);
    in_flight_.erase(found);
    if (outcome.outcome != link::Outcome::kExpired) newest_answered_ = std::max(newest_answered_, attempt.sent);
    const bool made = outcome.outcome == link::Outcome::kOk;
    has_signed_ = has_signed_ || made;
    if (made) {
      ++signatures_;
      latency_.Learn(now - std::max(attempt.sent, ready_since_), attempt.among, status_.sessions);
    }
    if (outcome.outcome == link::Outcome::kWantsData && AskWithData(attempt)) continue;
    if (attempt.signing.done == nullptr) continue;
    if (made) {
      attempt.signing.done(Made{outcome.signature, config_.name});
    } else {
      attempt.signing.done(ErrorOf(outcome.outcome, config_.name, outcome.token_code));
    }
  }
  Pump();
}

bool Token::AskWithData(Attempt& attempt) {
  if (attempt.data) return false;
  Known(*attempt.signing.key).wants_data = true;
  --attempt.attempts;
  if (attempt.signing.done != nullptr) waiting_.PushFront(std::move(attempt));
  return true;
}

Token::KnownKey& Token::Known(const snapshot::Key& key) {
  const Bytes& spki = key.public_key->Spki();
  const std::string name = std::string(AsText(key.cka_id)) + '/' + std::string(AsText(spki));
  const auto [place, fresh] =
      known_keys_.emplace(name, KnownKey{static_cast<std::uint32_t>(known_keys_.size() + 1), false});
  if (fresh) channel_->Send(link::DefineKey{place->second.ref, TypeOf(key.public_key->algorithm()), key.cka_id, spki});
  return place->second;
}

// Why nobody waits for it any more.
std::optional<Error> Token::Gone(const Signing& signing, steady_clock::time_point now) const {
  if (signing.race != nullptr && signing.race->answered) {
    return MakeError(Reason::kCancelled, "another token has made the signature");
  }
  if (signing.cancelled != nullptr && signing.cancelled->load()) {
    return MakeError(Reason::kCancelled, "the relay cancelled the call");
  }
  if (signing.deadline <= now) return ErrorOf(link::Outcome::kExpired, config_.name, 0);
  return std::nullopt;
}

void Token::FailWaiting(const Error& error) {
  for (Attempt& attempt : waiting_.Remove([](const Attempt&) { return true; })) {
    if (attempt.signing.done != nullptr) attempt.signing.done(error);
  }
}

void Token::FailInFlight(const Error& error) {
  std::vector<std::pair<std::uint64_t, Attempt>> again;
  for (auto& entry : in_flight_) again.emplace_back(entry.first, std::move(entry.second));
  in_flight_.clear();
  std::sort(again.begin(), again.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [id, attempt] : again) {
    if (attempt.signing.done == nullptr) continue;
    // A group asks each of its tokens twice itself.
    if (attempt.attempts < kMaxAttempts && attempt.signing.race == nullptr) {
      waiting_.PushFront(std::move(attempt));
    } else {
      attempt.signing.done(error);
    }
  }
}

void Token::FailExpired(steady_clock::time_point now) {
  for (Attempt& attempt :
       waiting_.Remove([&](const Attempt& waiting) { return Gone(waiting.signing, now).has_value(); })) {
    attempt.signing.done(*Gone(attempt.signing, now));
  }
  const auto refusal = StartsForLong();
  if (refusal) FailWaiting(*refusal);

  for (auto& [id, attempt] : in_flight_) {
    const bool expired = attempt.signing.deadline <= now;
    if (attempt.signing.done == nullptr || (!expired && !refusal)) continue;
    // It keeps its place until tokend answers: the session is busy all the same.
    const auto done = std::exchange(attempt.signing.done, nullptr);
    done(expired ? ErrorOf(link::Outcome::kExpired, config_.name, 0) : *refusal);
  }
}

void Token::GiveBack(const std::string& why) {
  const auto given = waiting_.Remove([](const Attempt& attempt) { return OthersCanMake(attempt.signing); });
  if (given.empty()) return;
  const Error error = MakeError(Reason::kTokenDown, "token " + config_.name + ": " + why);
  for (const Attempt& attempt : given) attempt.signing.done(error);
}

bool Token::IsLate(Deadline now) const {
  const auto patience = latency_.Patience();
  return std::any_of(in_flight_.begin(), in_flight_.end(),
                     [&](const auto& entry) { return now - entry.second.sent > patience; });
}

std::vector<std::shared_ptr<Race>> Token::LateRaces(Deadline now) const {
  std::vector<std::shared_ptr<Race>> late;
  for (const auto& [id, attempt] : in_flight_) {
    const auto& race = attempt.signing.race;
    if (race != nullptr && !race->answered && now - attempt.sent > latency_.Patience()) late.push_back(race);
  }
  return late;
}

std::vector<std::shared_ptr<Race>> Token::TakeWaiting(const std::function<bool(const Race&)>& wanted) {
  std::vector<std::shared_ptr<Race>> taken;
  for (Attempt& attempt : waiting_.Remove(
           [&](const Attempt& waiting) { return waiting.signing.race != nullptr && wanted(*waiting.signing.race); })) {
    taken.push_back(std::move(attempt.signing.race));
  }
  return taken;
}

}  // namespace hallmark::tokens
