#include "hsm/tokend/signer.h"

#include <algorithm>
#include <utility>

#include "firmware/runtime/log.h"

namespace hallmark::tokend {
namespace {

using std::chrono::steady_clock;

constexpr int kMaxAttempts = 2;
// How long a signature waits for a login that is being made again.
constexpr std::chrono::milliseconds kLoginPatience{50};
constexpr std::size_t kMaxKeys = 1'000'000;

link::Outcome OutcomeOf(const Error& error) {
  switch (error.reason) {
    case Reason::kKeyMissing: return link::Outcome::kKeyMissing;
    case Reason::kKeyMismatch: return link::Outcome::kKeyMismatch;
    case Reason::kTokenRefused: return link::Outcome::kTokenRefused;
    case Reason::kPinRejected: return link::Outcome::kPinRejected;
    case Reason::kInvalidArgument: return link::Outcome::kInvalid;
    default: return link::Outcome::kTokenDown;
  }
}

pkcs11::KeyType ToPkcs11(link::KeyType type) {
  return type == link::KeyType::kRsa ? pkcs11::KeyType::kRsa : pkcs11::KeyType::kEd25519;
}

}  // namespace

Signer::Signer(Keeper& keeper, unsigned sessions, std::function<void(std::vector<link::SignOutcome>)> on_results,
               std::function<void(link::KeyReply)> on_reply)
    : keeper_(keeper), sessions_(sessions), on_results_(std::move(on_results)), on_reply_(std::move(on_reply)) {}

Signer::~Signer() { Stop(); }

void Signer::Start() {
  for (unsigned i = 0; i < sessions_; ++i) threads_.emplace_back([this] { Work(); });
  threads_.emplace_back([this] { ManageKeys(); });
}

void Signer::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_signers_.notify_all();
  wake_manager_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Signer::Define(const link::DefineKey& key) {
  const std::lock_guard lock(mutex_);
  if (keys_.size() < kMaxKeys) keys_[key.key_ref] = key;
}

void Signer::Sign(link::SignBatch batch) {
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(batch.timeout_ms);
  {
    const std::lock_guard lock(mutex_);
    for (link::SignItem& item : batch.items) tasks_.push_back({std::move(item), deadline, 0});
  }
  wake_signers_.notify_all();
}

void Signer::Manage(link::GenerateKey call) {
  {
    const std::lock_guard lock(mutex_);
    key_calls_.emplace_back(std::move(call));
  }
  wake_manager_.notify_one();
}

void Signer::Manage(link::FindKey call) {
  {
    const std::lock_guard lock(mutex_);
    key_calls_.emplace_back(std::move(call));
  }
  wake_manager_.notify_one();
}

void Signer::Work() {
  Seat seat;
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      wake_signers_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    bool again = false;
    link::SignOutcome outcome = SignOne(seat, task, again);
    if (!again) {
      on_results_({std::move(outcome)});
      continue;
    }
    std::unique_lock lock(mutex_);
    tasks_.push_front(std::move(task));
    // The keeper is at work; looking again at once would only burn the processor.
    wake_signers_.wait_for(lock, kLoginPatience, [&] { return stopping_; });
  }
}

// `again` says that the outcome does not count and the task should be tried once more.
link::SignOutcome Signer::SignOne(Seat& seat, Task& task, bool& again) {
  link::SignOutcome outcome;
  outcome.id = task.item.id;
  if (task.deadline <= steady_clock::now()) {
    outcome.outcome = link::Outcome::kExpired;
    return outcome;
  }
  const std::shared_lock module_lock(keeper_.module_mutex());
  const Status seated = Sit(seat, pkcs11::Access::kRead);
  if (!seated) {
    // Waits for a login that is on its way; not for a token that is away.
    again = seated.error().reason == Reason::kStateConflict;
    outcome.outcome = OutcomeOf(seated.error());
    outcome.token_code = seated.error().token_code;
    return outcome;
  }
  auto signature = Attempt(seat, task.item);
  if (signature) {
    outcome.signature = std::move(*signature);
    return outcome;
  }
  const Error error = signature.error();
  again = pkcs11::RecoveryFor(error) != pkcs11::Recovery::kNone && ++task.attempts < kMaxAttempts;
  outcome.outcome = error.reason == Reason::kNotFound ? link::Outcome::kKeyUndefined : OutcomeOf(error);
  outcome.token_code = error.token_code;
  Heed(seat, error);
  return outcome;
}

Status Signer::Sit(Seat& seat, pkcs11::Access access) {
  const auto login = keeper_.login();
  if (login == nullptr) {
    seat.session.reset();
    seat.login.reset();
    if (keeper_.starting()) return MakeError(Reason::kStateConflict, "the token is being logged in to");
    const bool pin = keeper_.OutcomeWithoutLogin() == link::Outcome::kPinRejected;
    return MakeError(pin ? Reason::kPinRejected : Reason::kTokenDown, "the token is not logged in to");
  }
  if (seat.login == login && seat.session && seat.session->usable()) return Ok();
  seat.session.reset();
  seat.login = login;
  auto session = pkcs11::Session::Open(login->module, login->token.slot, access);
  if (!session) {
    const Error error = session.error();
    Heed(seat, error);
    return error;
  }
  seat.session.emplace(std::move(*session));
  return Ok();
}

void Signer::Heed(Seat& seat, const Error& error) {
  const pkcs11::Recovery recovery = pkcs11::RecoveryFor(error);
  if (recovery == pkcs11::Recovery::kNone) return;
  seat.session.reset();
  if (recovery == pkcs11::Recovery::kSession) return;
  keeper_.Report(seat.login->generation, recovery, error);
}

Result<std::shared_ptr<const pkcs11::KeyPair>> Signer::KeyFor(Seat& seat, const link::DefineKey& wanted) {
  {
    const std::lock_guard lock(seat.login->keys_mutex);
    const auto known = seat.login->keys.find(wanted.cka_id);
    if (known != seat.login->keys.end() && known->second->spki == wanted.spki) return known->second;
  }
  const std::shared_lock objects_lock(objects_mutex_);
  auto found = seat.session->Find(wanted.cka_id);
  if (!found) return found.error();
  if (found->type != ToPkcs11(wanted.type) || found->spki != wanted.spki) {
    return MakeError(Reason::kKeyMismatch, "the token's key is not the recorded one");
  }
  const auto key = std::make_shared<const pkcs11::KeyPair>(std::move(*found));
  const std::lock_guard lock(seat.login->keys_mutex);
  seat.login->keys[wanted.cka_id] = key;
  return key;
}

Result<Bytes> Signer::Attempt(Seat& seat, const link::SignItem& item) {
  link::DefineKey wanted;
  {
    const std::lock_guard lock(mutex_);
    const auto known = keys_.find(item.key_ref);
    if (known == keys_.end()) return MakeError(Reason::kNotFound, "a key that was not defined");
    wanted = known->second;
  }
  const auto key = KeyFor(seat, wanted);
  if (!key) return key.error();
  return item.kind == link::InputKind::kData ? seat.session->SignData(**key, item.input)
                                             : seat.session->SignDigest(**key, item.input);
}

void Signer::ManageKeys() {
  Seat seat;
  while (true) {
    KeyCall call;
    {
      std::unique_lock lock(mutex_);
      wake_manager_.wait(lock, [&] { return stopping_ || !key_calls_.empty(); });
      if (stopping_) return;
      call = std::move(key_calls_.front());
      key_calls_.pop_front();
    }
    link::KeyReply reply = Answer(seat, call);
    on_reply_(std::move(reply));
  }
}

link::KeyReply Signer::Answer(Seat& seat, const KeyCall& call) {
  link::KeyReply reply;
  std::visit([&](const auto& c) { reply.id = c.id; }, call);
  const std::shared_lock module_lock(keeper_.module_mutex());
  const Status seated = Sit(seat, pkcs11::Access::kWrite);
  Result<pkcs11::KeyPair> key = seated ? Result<pkcs11::KeyPair>(pkcs11::KeyPair()) : Result<pkcs11::KeyPair>(seated.error());
  if (seated) {
    const std::unique_lock objects_lock(objects_mutex_);
    if (const auto* generate = std::get_if<link::GenerateKey>(&call)) {
      key = seat.session->Generate(ToPkcs11(generate->type), generate->bits, generate->cka_id, generate->label);
    } else {
      key = seat.session->Find(std::get<link::FindKey>(call).cka_id);
    }
  }
  if (!key) {
    const Error error = key.error();
    if (seated) Heed(seat, error);
    reply.outcome = OutcomeOf(error);
    reply.token_code = error.token_code;
    reply.message = error.message;
    return reply;
  }
  reply.type = key->type == pkcs11::KeyType::kRsa ? link::KeyType::kRsa : link::KeyType::kEd25519;
  reply.bits = key->bits;
  reply.spki = std::move(key->spki);
  reply.sensitive = key->sensitive;
  reply.extractable = key->extractable;
  reply.never_extractable = key->never_extractable;
  return reply;
}

}  // namespace hallmark::tokend
