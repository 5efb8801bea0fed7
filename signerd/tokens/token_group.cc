#include "signerd/tokens/token_group.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "firmware/runtime/log.h"

namespace hallmark::tokens {
namespace {

constexpr std::chrono::milliseconds kTick{50};

// What nobody can mend by asking another token.
bool IsFinal(Reason reason) {
  return reason == Reason::kDeadlineExceeded || reason == Reason::kCancelled || reason == Reason::kShuttingDown;
}

// Of the errors of several tokens the one is given that is most worth another try: any of them may come back.
int Worth(Reason reason) {
  switch (reason) {
    case Reason::kTokenDown: return 3;
    case Reason::kPinRejected: return 2;
    case Reason::kOverloaded: return 1;
    default: return 0;
  }
}

std::uint64_t BitOf(std::size_t member) { return std::uint64_t{1} << member; }

}  // namespace

void TokenGroup::Start() {
  for (Member& member : members_) member.token->Start();
  if (several()) ScheduleTick();
}

void TokenGroup::Stop() {
  stopped_ = true;
  tick_.cancel();
  for (Member& member : members_) member.token->Stop();
}

void TokenGroup::EndKeyCalls() {
  for (Member& member : members_) member.token->EndKeyCalls();
}

Doubt TokenGroup::DoubtOf(const Member& member) {
  switch (member.token->state()) {
    case link::TokenState::kReady: return member.late || member.token->sick() ? Doubt::kSick : Doubt::kNone;
    case link::TokenState::kStarting: return member.token->StartsForLong() ? Doubt::kAway : Doubt::kStarting;
    default: return Doubt::kAway;
  }
}

std::optional<std::size_t> TokenGroup::Choose(const Race& race, Doubt worst) {
  const Bytes& cka_id = race.signing.key->cka_id;
  candidates_.clear();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const Member& member = members_[i];
    const bool lacking = !member.lacking.empty() && member.lacking.contains(cka_id);
    candidates_.push_back({lacking ? Doubt::kLacking : DoubtOf(member), (race.tried & BitOf(i)) != 0,
                           member.token->load() + member.batch.size(), member.token->sessions(),
                           member.token->service(), member.turn});
  }
  return tokens::Choose(candidates_, worst);
}

void TokenGroup::Add(Signing signing) {
  if (!several()) {
    members_.front().batch.push_back(std::move(signing));
    return;
  }
  const auto race = std::make_shared<Race>();
  race->signing = std::move(signing);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const std::string& name = members_[i].token->config().name;
    if (name == race->signing.avoid) race->tried |= BitOf(i);
    if (name != race->signing.only) continue;
    members_[i].batch.push_back(std::move(race->signing));
    return;
  }
  Send(race);
}

void TokenGroup::Put(const RacePointer& race, std::size_t member) {
  race->tried |= BitOf(member);
  ++race->at;
  members_[member].turn = ++turns_;
  auto done = std::exchange(race->signing.done, nullptr);  // dear to copy
  Signing signing = race->signing;
  race->signing.done = std::move(done);
  signing.race = race;
  signing.done = [this, race, member](Result<Made> answer) { OnAnswer(race, member, std::move(answer)); };
  members_[member].batch.push_back(std::move(signing));
}

bool TokenGroup::Send(const RacePointer& race) {
  auto member = Choose(*race, race->last ? Doubt::kLacking : Doubt::kSick);
  if (!member && !race->last) {
    race->last = true;
    race->tried = 0;
    member = Choose(*race, Doubt::kLacking);
  }
  if (!member) return false;
  Put(race, *member);
  return true;
}

void TokenGroup::Flush() {
  for (Member& member : members_) {
    if (!member.batch.empty()) member.token->Sign(std::exchange(member.batch, {}));
  }
}

void TokenGroup::OnAnswer(const RacePointer& race, std::size_t member, Result<Made> answer) {
  --race->at;
  const snapshot::Key& key = *race->signing.key;
  if (answer) {
    members_[member].lacking.erase(key.cka_id);
  } else {
    Learn(member, key, answer.error().reason);
  }
  if (race->answered) return;
  if (!answer && !IsFinal(answer.error().reason)) {
    if (!race->error || Worth(answer.error().reason) > Worth(race->error->reason)) race->error = answer.error();
    if (race->at > 0) return;
    // Not from within the token's call.
    if (unanswered_.empty()) boost::asio::post(io_, [this] { SendOn(); });
    unanswered_.push_back(race);
    return;
  }
  race->answered = true;
  std::exchange(race->signing.done, nullptr)(std::move(answer));
}

void TokenGroup::Learn(std::size_t member, const snapshot::Key& key, Reason reason) {
  if (reason == Reason::kKeyMissing || reason == Reason::kKeyMismatch) {
    members_[member].lacking[key.cka_id] = key.public_key->Spki();
  } else if (!IsFinal(reason) && reason != Reason::kOverloaded) {
    members_[member].token->SetSick(true);
  }
}

void TokenGroup::SendOn() {
  for (const RacePointer& race : std::exchange(unanswered_, {})) {
    // Only a token that went down under it can make it when it is asked a second time.
    if (race->error->reason != Reason::kTokenDown) race->last = true;
    if (!stopped_ && Send(race)) continue;
    race->answered = true;
    std::exchange(race->signing.done, nullptr)(*race->error);
  }
  Flush();
}

void TokenGroup::NoteSeen(const Token& token, const Bytes& cka_id, const link::KeyReply* pair) {
  if (!several()) return;
  // One that can leave its token is not signed with.
  const bool signs = pair != nullptr && pair->sensitive != 0 && pair->extractable == 0;
  for (Member& member : members_) {
    if (member.token != &token) continue;
    const auto lacking = member.lacking.find(cka_id);
    if (!signs) {
      member.lacking.try_emplace(cka_id);
    } else if (lacking != member.lacking.end() && (lacking->second.empty() || lacking->second == pair->spki)) {
      member.lacking.erase(lacking);  // and not where another pair is in its place
    }
  }
}

void TokenGroup::NoteNewKey(const Bytes& cka_id) {
  for (Member& member : members_) member.lacking.erase(cka_id);
}

void TokenGroup::ScheduleTick() {
  tick_.expires_after(kTick);
  tick_.async_wait([this](boost::system::error_code stopped) {
    if (stopped || stopped_) return;
    OnTick();
    ScheduleTick();
  });
}

void TokenGroup::OnTick() {
  const auto now = std::chrono::steady_clock::now();
  for (Member& member : members_) {
    const bool late = member.token->IsLate(now);
    if (late && !member.late) {
      log::warn("token {}: a signature is late; others of group {} take over", member.token->config().name, name_);
    }
    member.late = late;
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].late) Double(i);
    if (members_[i].late || members_[i].token->state() != link::TokenState::kReady) Relieve(i);
  }
  Flush();
}

void TokenGroup::Double(std::size_t member) {
  for (const RacePointer& race : members_[member].token->LateRaces(std::chrono::steady_clock::now())) {
    if (race->at > 1) continue;
    if (const auto other = Choose(*race, Doubt::kNone)) Put(race, *other);
  }
}

void TokenGroup::Relieve(std::size_t member) {
  const Doubt doubt = DoubtOf(members_[member]);
  if (std::none_of(members_.begin(), members_.end(), [&](const Member& other) { return DoubtOf(other) < doubt; }))
    return;
  // The member itself counts as tried.
  const auto better = static_cast<Doubt>(static_cast<int>(doubt) - 1);
  for (const RacePointer& race : members_[member].token->TakeWaiting(
           [&](const Race& waiting) { return !waiting.answered && Choose(waiting, better).has_value(); })) {
    const auto other = Choose(*race, better);
    race->tried &= ~BitOf(member);
    if (--race->at == 0) Put(race, *other);
  }
}

}  // namespace hallmark::tokens
