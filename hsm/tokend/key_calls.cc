#include "hsm/tokend/key_calls.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <shared_mutex>
#include <system_error>
#include <utility>

#include "firmware/runtime/log.h"
#include "hsm/tokend/link_values.h"

namespace hallmark::tokend {
namespace {

using std::chrono::steady_clock;

constexpr int kLowPriority = 10;  // a tenth of the share of a thread that signs, where there is too little for both
// Where there is much to sign, no other key is made for so many times as long as the last one took of the processor,
// and as it held signing up: a thousand keys at once take a fortieth of a processor, and a hundredth of the time.
constexpr int kMakingShare = 40, kSigningShare = 100;
constexpr double kMuchSigning = 20;                       // signatures a second
constexpr std::chrono::milliseconds kShortestPause{100};  // in which signatures are counted
constexpr std::chrono::seconds kLongestPause{10};
constexpr std::chrono::milliseconds kLook{20};  // how often a call that may not be made yet is looked at
// A smartcard takes minutes to make an RSA key. What makes none is as quick as the keeper's steps are.
constexpr std::chrono::seconds kLongestMaking{600};
constexpr std::size_t kMostWaiting = 1000;

link::KeyReply ReplyTo(std::uint64_t id, const Result<pkcs11::KeyPair>& key) {
  link::KeyReply reply;
  reply.id = id;
  if (!key) {
    reply.outcome = OutcomeOf(key.error());
    reply.token_code = key.error().token_code;
    reply.message = key.error().message;
    return reply;
  }
  reply.type = ToLink(key->type);
  reply.bits = key->bits;
  reply.spki = key->spki;
  reply.sensitive = key->sensitive;
  reply.extractable = key->extractable;
  reply.never_extractable = key->never_extractable;
  return reply;
}

std::uint64_t IdOf(const KeyCall& call) {
  return std::visit([](const auto& c) { return c.id; }, call);
}

// Whether the call makes or destroys objects in the token.
bool Writes(const KeyCall& call) {
  return !std::holds_alternative<link::FindKey>(call) && !std::holds_alternative<link::BeginImport>(call);
}

bool Fits(const link::GenerateKey& call) { return FitsKey(call.cka_id, {}, call.label); }
bool Fits(const link::FindKey& call) { return FitsKey(call.cka_id, {}); }
bool Fits(const link::DestroyKey& call) { return FitsKey(call.cka_id, call.spki); }
bool Fits(const link::BeginImport&) { return true; }
bool Fits(const link::ImportKey& call) {
  return FitsKey(call.cka_id, call.spki, call.label) && call.wrapped_secret.size() <= kLargestWrapped &&
         call.wrapped_key.size() <= kLargestWrapped;
}

bool Makes(const KeyCall& call) {
  return std::holds_alternative<link::GenerateKey>(call) || std::holds_alternative<link::BeginImport>(call);
}

// SoftHSM 2.6 mixes objects up when one is made or destroyed in the token while other calls are under way.
bool MixesObjectsUp(const pkcs11::TokenInfo& token) { return token.manufacturer == "SoftHSM project"; }

// Makes the pair on a thread of its own that has a low priority, and waits for it. SoftHSM makes an RSA key with
// this process's own processor time, as much as thousands of signatures take: it gets what signing leaves over.
// Priorities are those of threads on Linux, and only a thread that holds no lock of ours may have a low one.
Result<pkcs11::NewPair> MakeSlowly(pkcs11::Session& session, const pkcs11::KeySpec& spec,
                                   const pkcs11::ObjectName& name, steady_clock::duration& took) {
  Result<pkcs11::NewPair> pair = pkcs11::NewPair();
  const auto make = [&] {
    if (::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLowPriority) != 0) {
      log::warn("keys are made at the priority of signing: the system refused a lower one");
    }
    pair = session.GenerateForSession(spec, name);
    timespec used{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    took = std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  };
  try {
    std::thread(make).join();
  } catch (const std::system_error& error) {
    return MakeError(Reason::kInternal, std::string("no thread to make the key on: ") + error.what());
  }
  return pair;
}

}  // namespace

KeyCalls::KeyCalls(Keeper& keeper, Callbacks callbacks) : keeper_(keeper), callbacks_(std::move(callbacks)) {}

KeyCalls::~KeyCalls() { Stop(); }

void KeyCalls::Start() {
  thread_ = std::thread([this] { Run(); });
}

void KeyCalls::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void KeyCalls::Add(KeyCall call) {
  const auto refuse = [&](const Error& error) { callbacks_.on_reply(ReplyTo(IdOf(call), error)); };
  if (!std::visit([](const auto& c) { return Fits(c); }, call)) {
    refuse(MakeError(Reason::kInvalidArgument, "the CKA_ID, the label or the key is longer than tokens take"));
    return;
  }
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    full = waiting_.size() >= kMostWaiting;
    if (!full) waiting_.push_back(std::move(call));
  }
  if (full) {
    refuse(MakeError(Reason::kTokenDown, "too many key calls wait for the token: try again later"));
  } else {
    wake_.notify_one();
  }
}

bool KeyCalls::Busy() const {
  const std::lock_guard lock(mutex_);
  return under_way_ || !waiting_.empty();
}

void KeyCalls::Wake() {
  // Whoever is about to wait has read the state before, or reads it after.
  const std::lock_guard lock(mutex_);
  wake_.notify_one();
}

std::optional<KeyCall> KeyCalls::Take() {
  if (keeper_.state() == link::TokenState::kStarting) return std::nullopt;
  const bool may_make = MayMake();
  const auto next = std::find_if(waiting_.begin(), waiting_.end(), [&](const KeyCall& call) {
    return may_make || !std::holds_alternative<link::GenerateKey>(call);
  });
  if (next == waiting_.end()) return std::nullopt;
  std::optional<KeyCall> call = std::move(*next);
  waiting_.erase(next);
  return call;
}

bool KeyCalls::MayMake() const {
  const auto waited = steady_clock::now() - pause_.begun;
  if (waited >= pause_.length) return true;
  const std::chrono::duration<double> seconds = waited;
  const auto signatures = static_cast<double>(keeper_.signatures() - pause_.signatures);
  return waited >= kShortestPause && signatures < kMuchSigning * seconds.count();
}

void KeyCalls::PauseMaking(steady_clock::duration length) {
  const std::lock_guard lock(mutex_);
  pause_ = {steady_clock::now(), std::min<steady_clock::duration>(length, kLongestPause), keeper_.signatures()};
}

void KeyCalls::Run() {
  while (true) {
    std::optional<KeyCall> call;
    {
      std::unique_lock lock(mutex_);
      under_way_ = false;
      while (!stopping_ && !(call = Take())) {
        if (waiting_.empty()) {
          wake_.wait(lock);
        } else {
          wake_.wait_for(lock, kLook);
        }
      }
      if (stopping_) break;
      under_way_ = true;
    }
    const auto begun = std::filesystem::file_time_type::clock::now();
    auto answer = Answer(*call);
    step_.End();
    if (answer && Writes(*call)) {
      if (const Status synced = keeper_.Sync(begun); !synced) answer = synced.error();
    }
    callbacks_.on_reply(ReplyTo(IdOf(*call), answer));
  }
  const std::shared_lock shared(keeper_.gate());
  Rise();
}

Result<pkcs11::KeyPair> KeyCalls::Answer(const KeyCall& call) {
  const auto before = keeper_.login();
  const auto* generate = std::get_if<link::GenerateKey>(&call);
  const bool only = before != nullptr && before->only;
  const bool mixes = before != nullptr && MixesObjectsUp(before->token);
  if (generate != nullptr && mixes && !only) return MakeBesideSigning(*generate, before);
  std::unique_lock alone(keeper_.gate(), std::defer_lock);
  std::shared_lock shared(keeper_.gate(), std::defer_lock);
  if (only || (mixes && Writes(call))) {
    alone.lock();
  } else {
    shared.lock();
  }
  // Not before: it may be the keeper that has the module, and hangs there.
  std::optional<Keeper::Making> making;
  if (Makes(call)) making.emplace(keeper_);
  if (only || Makes(call)) callbacks_.on_begun({IdOf(call), only});
  step_.Begin(Makes(call) ? kLongestMaking : keeper_.longest_step());
  // What an import begins with, its end needs too: a session that may write.
  const bool find = std::holds_alternative<link::FindKey>(call);
  const Status seated = Sit(before, find ? pkcs11::Access::kRead : pkcs11::Access::kWrite);
  if (!seated) return seated.error();
  auto key = std::visit([&](const auto& c) { return Do(c); }, call);
  // As calls are rare, the token gets its session back, but for the one that an import needs again.
  if (!importer_.begun() || !seat_.current().usable()) Rise();
  return key ? key : Trouble(*before, key.error());
}

// An RSA key takes a second where there is much to sign, so that it is made while signing goes on; only to put it into
// the token, a few milliseconds, does signing have to wait. So no signature may take longer for it, and signerd is not
// told.
Result<pkcs11::KeyPair> KeyCalls::MakeBesideSigning(const link::GenerateKey& call,
                                                    const std::shared_ptr<Login>& login) {
  const auto fail = [&](const Error& error) {
    Rise();
    return Trouble(*login, error);
  };
  Result<pkcs11::NewPair> pair = pkcs11::NewPair();
  steady_clock::duration making{};
  {
    const std::shared_lock shared(keeper_.gate());
    const Keeper::Making made(keeper_);
    step_.Begin(kLongestMaking);
    const Status seated = Sit(login, pkcs11::Access::kWrite);
    if (!seated) return seated.error();
    pair = MakeSlowly(seat_.current(), {ToPkcs11(call.type), call.bits}, {call.cka_id, call.label}, making);
    if (!pair) return fail(pair.error());
  }
  step_.End();
  const std::unique_lock alone(keeper_.gate());
  step_.Begin(keeper_.longest_step());
  // The login may have been replaced in between, and the pair gone with its session.
  const Status seated = Sit(login, pkcs11::Access::kWrite);
  if (!seated) return seated.error();
  const auto begun = steady_clock::now();
  auto kept = seat_.current().Keep(*pair, call.cka_id);
  PauseMaking(making * kMakingShare + (steady_clock::now() - begun) * kSigningShare);
  if (!kept) return fail(kept.error());
  if (!importer_.begun() || !seat_.current().usable()) Rise();
  return kept;
}

// Under the gate. `login` is the one that the call began with.
Status KeyCalls::Sit(const std::shared_ptr<Login>& login, pkcs11::Access access) {
  const auto present = keeper_.login();
  if (present != seat_.login || present == nullptr) Rise();
  if (present == nullptr) return NoLogin(keeper_.state());
  if (present != login) return MakeError(Reason::kTokenDown, "the token was logged in to again meanwhile: try again");
  seat_.login = login;
  if (login->only || seat_.session) return Ok();
  auto opened = pkcs11::Session::Open(login->module, login->token.slot, access);
  if (!opened) return Trouble(*login, opened.error());
  seat_.session.emplace(std::move(*opened));
  return Ok();
}

void KeyCalls::Rise() {
  importer_.Forget();
  seat_.session.reset();
  seat_.login.reset();
}

Result<pkcs11::KeyPair> KeyCalls::Do(const link::GenerateKey& call) {
  return seat_.current().Generate({ToPkcs11(call.type), call.bits}, {call.cka_id, call.label});
}

Result<pkcs11::KeyPair> KeyCalls::Do(const link::FindKey& call) { return seat_.current().Find(call.cka_id); }

Result<pkcs11::KeyPair> KeyCalls::Do(const link::DestroyKey& call) {
  const Status destroyed = seat_.current().Destroy(call.cka_id, call.spki);
  if (!destroyed) return destroyed.error();
  const std::lock_guard lock(seat_.login->keys_mutex);
  seat_.login->keys.erase(call.cka_id);  // the number of its handle may come to be another object's
  return pkcs11::KeyPair{};
}

Result<pkcs11::KeyPair> KeyCalls::Do(const link::BeginImport&) {
  auto spki = importer_.Begin(seat_.current());
  if (!spki) return spki.error();
  pkcs11::KeyPair wrapping;
  wrapping.spki = std::move(*spki);
  wrapping.bits = pkcs11::kWrappingBits;
  return wrapping;
}

Result<pkcs11::KeyPair> KeyCalls::Do(const link::ImportKey& call) {
  return importer_.Import(seat_.current(), call, !seat_.login->token.rsa_pkcs);
}

// Has the login seen to where a call found it in trouble.
Error KeyCalls::Trouble(const Login& login, const Error& error) {
  pkcs11::Recovery recovery = pkcs11::RecoveryFor(error);
  if (recovery == pkcs11::Recovery::kSession && login.only) recovery = pkcs11::Recovery::kLogin;
  using enum pkcs11::Recovery;
  if (recovery == kLogin || recovery == kRoom || recovery == kModule) {
    keeper_.Report(login.generation, recovery, error);
  }
  return error;
}

}  // namespace hallmark::tokend
