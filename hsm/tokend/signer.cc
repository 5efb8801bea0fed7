#include "hsm/tokend/signer.h"

#include <algorithm>
#include <shared_mutex>
#include <utility>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/log.h"
#include "hsm/tokend/link_values.h"

namespace hallmark::tokend {
namespace {

using link::TokenState;
using std::chrono::steady_clock;

// With a new session, then under a new login, and no more.
constexpr int kMaxAttempts = 3;
constexpr unsigned kMostWaking = 2;
// After which a worker looks whether the token has room for its session by now.
constexpr std::chrono::seconds kStands{10};
constexpr std::size_t kMaxKeys = 1'000'000;

link::SignOutcome OutcomeFor(std::uint64_t id, const Error& error) {
  return {id, OutcomeOf(error), error.token_code, {}};
}

link::SignOutcome Expired(std::uint64_t id) { return {id, link::Outcome::kExpired, 0, {}}; }

}  // namespace

Signer::Signer(Keeper& keeper, unsigned sessions, OnResults on_results)
    : keeper_(keeper), sessions_(sessions), on_results_(std::move(on_results)) {}

Signer::~Signer() { Stop(); }

void Signer::Start() {
  const std::lock_guard lock(mutex_);
  for (unsigned i = 0; i < sessions_; ++i) {
    workers_.emplace_back().thread = std::thread([this, i] { Work(i); });
  }
}

void Signer::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (Worker& worker : workers_) worker.wake.notify_one();
  }
  for (Worker& worker : workers_) {
    if (worker.thread.joinable()) worker.thread.join();
  }
}

void Signer::Define(const link::DefineKey& key) {
  const std::lock_guard lock(mutex_);
  if (keys_.size() < kMaxKeys || keys_.count(key.key_ref) != 0) {
    keys_[key.key_ref] = std::make_shared<const link::DefineKey>(key);
  }
}

void Signer::Sign(link::SignBatch batch) {
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(batch.timeout_ms);
  const std::lock_guard lock(mutex_);
  for (link::SignItem& item : batch.items) {
    const auto key = keys_.find(item.key_ref);
    tasks_.push_back({std::move(item), deadline, key == keys_.end() ? nullptr : key->second});
  }
  WakeSome();
}

void Signer::Wake() {
  // Whoever is about to wait has read the state before, or reads it after.
  const std::lock_guard lock(mutex_);
  WakeSome();
}

bool Signer::MayWork(unsigned index) const {
  const TokenState state = keeper_.state();
  const TimePoint stands_until = workers_[index].stands_until;
  if (stands_until != TimePoint() && stands_until > steady_clock::now()) return false;
  return state != TokenState::kStarting && (state != TokenState::kReady || index < keeper_.sessions());
}

// A few at a time, and each worker that runs wakes more while there is work: a slow token has all of its sessions busy
// in well under a millisecond, and a fast one is not slowed by sixty threads that come and find nothing left. The
// latest to wait is woken first: its stack and its session are warm.
void Signer::WakeSome() {
  while (waking_ < kMostWaking && waking_ < tasks_.size()) {
    const auto next = std::find_if(idle_.rbegin(), idle_.rend(), [this](unsigned index) { return MayWork(index); });
    if (next == idle_.rend()) return;
    Worker& worker = workers_[*next];
    idle_.erase(std::next(next).base());
    worker.woken = true;
    ++waking_;
    worker.wake.notify_one();
  }
}

std::optional<Signer::Task> Signer::Take(unsigned index) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!tasks_.empty() && MayWork(index)) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      WakeSome();
      return task;
    }
    WakeSome();  // it may have been woken for a task that it may not work on any more
    Worker& self = workers_[index];
    idle_.push_back(index);
    self.wake.wait(lock, [&] { return self.woken || stopping_; });
    if (std::exchange(self.woken, false)) --waking_;
  }
  return std::nullopt;
}

std::optional<Signer::TimePoint> Signer::Expire(TimePoint now) {
  std::vector<link::SignOutcome> expired;
  std::optional<TimePoint> next;
  {
    const std::lock_guard lock(mutex_);
    const auto late =
        std::stable_partition(tasks_.begin(), tasks_.end(), [&](const Task& task) { return task.deadline > now; });
    for (auto task = late; task != tasks_.end(); ++task) expired.push_back(Expired(task->item.id));
    tasks_.erase(late, tasks_.end());
    for (const Task& task : tasks_) next = next ? std::min(*next, task.deadline) : task.deadline;
  }
  if (!expired.empty()) on_results_(std::move(expired));
  return next;
}

void Signer::Work(unsigned index) {
  Seat seat;
  while (auto task = Take(index)) {
    if (auto outcome = SignOne(seat, *task)) {
      on_results_({std::move(*outcome)});
      continue;
    }
    const std::lock_guard lock(mutex_);
    if (std::exchange(seat.without_room, false)) workers_[index].stands_until = steady_clock::now() + kStands;
    tasks_.push_front(std::move(*task));
    WakeSome();
  }
  const std::shared_lock shared(keeper_.gate());
  seat.Rise();
}

std::optional<link::SignOutcome> Signer::SignOne(Seat& seat, Task& task) {
  if (task.deadline <= steady_clock::now()) return Expired(task.item.id);
  const std::shared_lock shared(keeper_.gate());
  const auto login = keeper_.login();
  if (login == nullptr) {
    const TokenState state = keeper_.state();
    if (state == TokenState::kStarting || state == TokenState::kReady) return std::nullopt;
    return OutcomeFor(task.item.id, NoLogin(state));
  }
  if (seat.login != login) {
    seat.Rise();
    seat.login = login;
  }
  if (const Status seated = Sit(seat); !seated) {
    seat.without_room = pkcs11::IsSessionCount(seated.error()) && login->seats > 0;
    return seat.without_room ? std::nullopt : Fail(seat, task, seated.error());
  }
  auto outcome = Attempt(seat, task);
  if (!outcome) return FailToSign(seat, task, outcome.error());
  return std::move(*outcome);
}

// Decides what a failure means for the task, the session and the login.
std::optional<link::SignOutcome> Signer::Fail(Seat& seat, Task& task, const Error& error) {
  pkcs11::Recovery recovery = pkcs11::RecoveryFor(error);
  if (seat.session && !seat.session->usable()) seat.Rise();
  if (recovery == pkcs11::Recovery::kNone || recovery == pkcs11::Recovery::kPin) return OutcomeFor(task.item.id, error);
  ++task.attempts;
  if (recovery == pkcs11::Recovery::kSession && (task.attempts > 1 || seat.login->only))
    recovery = pkcs11::Recovery::kLogin;
  seat.Rise();
  if (recovery != pkcs11::Recovery::kSession) keeper_.Report(seat.login->generation, recovery, error);
  if (task.attempts < kMaxAttempts) return std::nullopt;
  return OutcomeFor(task.item.id, error);
}

// As Fail(), but where it is the key's own trouble the others keep their login.
std::optional<link::SignOutcome> Signer::FailToSign(Seat& seat, Task& task, const Error& error) {
  const pkcs11::Recovery recovery = pkcs11::RecoveryFor(error);
  if (recovery == pkcs11::Recovery::kNone || recovery == pkcs11::Recovery::kPin) return Fail(seat, task, error);
  const Bytes& cka_id = task.key->cka_id;
  const auto verdict = key_troubles_.Judge(cka_id, seat.login->generation, keeper_.signatures(), steady_clock::now());
  if (verdict == KeyTroubles::Verdict::kTokens) return Fail(seat, task, error);
  if (verdict == KeyTroubles::Verdict::kOwnFromNow) {
    log::warn("the key with CKA_ID {} does not sign, while others do: {}", HexEncode(cka_id), error.message);
  }
  seat.Rise();
  // A session that failed is not used again, and this token has no other.
  if (seat.login->only) keeper_.Report(seat.login->generation, pkcs11::Recovery::kLogin, error);
  return OutcomeFor(task.item.id, error);
}

Status Signer::Sit(Seat& seat) {
  if (seat.login->only) {
    return seat.login->session.usable()
               ? Ok()
               : Status(pkcs11::MakeTokenError(CKR_SESSION_HANDLE_INVALID, "the token's only session"));
  }
  if (seat.session && seat.session->usable()) return Ok();
  seat.Rise();
  auto session = pkcs11::Session::Open(seat.login->module, seat.login->token.slot, pkcs11::Access::kRead);
  if (!session) return session.error();
  seat.session.emplace(std::move(*session));
  ++seat.login->seats;
  return Ok();
}

Signer::FoundKey Signer::KeyFor(Seat& seat, const link::DefineKey& wanted) {
  Login& login = *seat.login;
  std::optional<std::promise<FoundKey>> own;
  std::shared_ptr<const SoughtKey> sought;
  while (true) {
    {
      const std::lock_guard lock(login.keys_mutex);
      auto& place = login.keys[wanted.cka_id];
      if (place == nullptr || place->spki != wanted.spki) {
        own.emplace();
        place = std::make_shared<const SoughtKey>(SoughtKey{wanted.spki, own->get_future().share()});
      }
      sought = place;
    }
    if (own) break;
    const FoundKey& found = sought->found.get();
    // What another session failed of says nothing of this one.
    if (found || pkcs11::RecoveryFor(found.error()) == pkcs11::Recovery::kNone) return found;
  }
  FoundKey found = FindKey(seat.current(), wanted);
  if (!found) {  // whoever asks next looks again
    const std::lock_guard lock(login.keys_mutex);
    const auto place = login.keys.find(wanted.cka_id);
    if (place != login.keys.end() && place->second == sought) login.keys.erase(place);
    // signerd is told that it does not match, and not why.
    const bool wrong = found.error().reason == Reason::kKeyMismatch;
    if (wrong && login.told.insert(wanted.cka_id).second)
      log::warn("nothing is signed with the key of CKA_ID {}: {}", HexEncode(wanted.cka_id), found.error().message);
  }
  own->set_value(found);
  return found;
}

Signer::FoundKey Signer::FindKey(pkcs11::Session& session, const link::DefineKey& wanted) {
  auto found = session.Find(wanted.cka_id);
  if (!found) return found.error();
  if (found->type != ToPkcs11(wanted.type) || found->spki != wanted.spki) {
    return MakeError(Reason::kKeyMismatch, "the token's key is not the recorded one");
  }
  // When it was taken on it was judged in one token; a copy in another of the group may be different.
  if (found->extractable || !found->sensitive) {
    return MakeError(Reason::kKeyMismatch,
                     "the private key can leave the token (CKA_EXTRACTABLE or not CKA_SENSITIVE)");
  }
  return std::make_shared<const pkcs11::KeyPair>(std::move(*found));
}

Result<link::SignOutcome> Signer::Attempt(Seat& seat, const Task& task) {
  if (task.key == nullptr) return MakeError(Reason::kNotFound, "a key that was not defined");
  const FoundKey key = KeyFor(seat, *task.key);
  if (!key) return key.error();
  const bool data = task.item.kind == link::InputKind::kData;
  if ((*key)->wants_data && !data) return link::SignOutcome{task.item.id, link::Outcome::kWantsData, 0, {}};
  pkcs11::Session& session = seat.current();
  auto signature = data ? session.SignData(**key, task.item.input) : session.SignDigest(**key, task.item.input);
  if (!signature) return signature.error();
  keeper_.Prove();
  key_troubles_.Forget(task.key->cka_id);
  return link::SignOutcome{task.item.id, link::Outcome::kOk, 0, std::move(*signature)};
}

}  // namespace hallmark::tokend
