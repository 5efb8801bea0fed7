#include "hsm/tokend/keeper.h"

#include <algorithm>
#include <shared_mutex>
#include <utility>

#include "firmware/runtime/log.h"

namespace hallmark::tokend {
namespace {

using link::TokenState;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kAtOnce{0};
constexpr milliseconds kLook{1000};
constexpr milliseconds kLongestPause{30000};
// So often in a row a login is made again at once for trouble that it did not mend.
constexpr unsigned kTroublesUntilDown = 3;
// So often in a row a module that this process had initialized, or logged in to, is initialized or opened again in
// vain: some keep what only a new process gets rid of.
constexpr unsigned kVainInitializations = 5;
// So often in a row C_Login may fail with codes that nobody here knows: one of them may be the vendor's for a wrong
// PIN, and tokens lock after some.
constexpr unsigned kUnknownCodes = 3;
// Sessions that workers leave to the login and to key management. A token with no more than these does all with one.
constexpr unsigned long kKeptSessions = 2;

unsigned SessionsFor(unsigned configured, const pkcs11::TokenInfo& token) {
  if (token.max_sessions == 0) return configured;
  const unsigned long limit = token.max_sessions > kKeptSessions ? token.max_sessions - kKeptSessions : 1;
  return static_cast<unsigned>(std::min<unsigned long>(configured, limit));
}

milliseconds PauseAfter(unsigned troubles) {
  milliseconds pause = kLook;
  for (unsigned i = kTroublesUntilDown; i < troubles && pause < kLongestPause; ++i) pause *= 2;
  return std::min(pause, kLongestPause);
}

}  // namespace

Keeper::Keeper(Config config, pkcs11::TokenUri uri)
    : config_(std::move(config)), uri_(std::move(uri)), files_(config_.module) {}

Keeper::~Keeper() { Stop(); }

void Keeper::Start(Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  thread_ = std::thread([this] { Run(); });
}

void Keeper::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<Login> Keeper::login() const {
  const std::lock_guard lock(mutex_);
  return login_;
}

void Keeper::Report(std::uint64_t generation, pkcs11::Recovery recovery, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (login_ == nullptr || login_->generation != generation) return;  // it is being seen to
    login_.reset();
    trouble_ = Trouble{recovery, error};
    state_ = TokenState::kStarting;
  }
  wake_.notify_all();
}

void Keeper::Run() {
  milliseconds pause = kAtOnce;
  while (true) {
    std::optional<Trouble> trouble;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, pause, [&] { return stopping_ || trouble_.has_value(); });
      if (stopping_) break;
      trouble.swap(trouble_);
    }
    step_.Begin(config_.longest_step);
    if (trouble) {
      pause = Recover(*trouble);
    } else {
      pause = login() == nullptr ? BringUp() : LookAfter();
    }
    step_.End();
  }
  Finalize();
}

milliseconds Keeper::Recover(const Trouble& trouble) {
  DropLogin();
  const unsigned troubles = ++troubles_;
  const bool new_login_did_not_do = trouble.recovery == pkcs11::Recovery::kRoom && troubles > 1;
  if (trouble.recovery == pkcs11::Recovery::kModule || new_login_did_not_do) needs_restart_ = true;
  if (troubles > kTroublesUntilDown || (needs_restart_ && !MayRestart())) {
    Tell(TokenState::kDown, trouble.error);
    return PauseAfter(troubles);
  }
  Tell(TokenState::kStarting, trouble.error);
  return BringUp();
}

milliseconds Keeper::BringUp() {
  if (needs_restart_ && MayRestart()) {
    log::warn("initializing the module again");
    last_restart_ = steady_clock::now();
    Finalize();
  }
  if (const Status loaded = LoadAndInitialize(); !loaded) return FailToBringUp(loaded.error());
  const auto token = module_->FindToken(uri_);
  if (!token && token.error().reason == Reason::kNotFound) {
    Tell(TokenState::kAbsent, token.error());
    Finalize();  // many modules see a new token only when they are initialized again
    return kLook;
  }
  if (!token) return FailToBringUp(token.error());
  if (const Status done = LogIn(*token); !done) return FailToBringUp(done.error());
  needs_restart_ = false;
  TellReady(*token);
  return kLook;
}

milliseconds Keeper::FailToBringUp(const Error& error) {
  const pkcs11::Recovery recovery = pkcs11::RecoveryFor(error);
  if (recovery == pkcs11::Recovery::kModule || recovery == pkcs11::Recovery::kRoom) needs_restart_ = true;
  // None is open in this process. Where others have them all a new one changes nothing; a module that has miscounted
  // its own (tpm2-pkcs11 without room in the TPM) counts anew there.
  if (pkcs11::IsSessionCount(error) && generation_ != 0 && ++vain_openings_ == kVainInitializations && !refused_pin_) {
    log::error("the module opens no session any more in this process, which ends: {}", error.message);
    callbacks_.on_hopeless();
  }
  Tell(error.reason == Reason::kPinRejected ? TokenState::kPinRejected : TokenState::kDown, error);
  return PauseAfter(vain_logins_);
}

bool Keeper::MayRestart() const {
  return !last_restart_ || steady_clock::now() - *last_restart_ >= config_.between_restarts;
}

template <class Lock>
void Keeper::Enter(Lock& lock) {
  step_.End();
  lock.lock();
  step_.Begin(config_.longest_step);
}

// Takes the login from the workers, waits until none of them is within the module, and closes all their sessions.
void Keeper::DropLogin() {
  std::unique_lock alone(gate_, std::defer_lock);
  Enter(alone);
  {
    const std::lock_guard lock(mutex_);
    if (login_ != nullptr) state_ = TokenState::kStarting;
    login_.reset();
  }
  if (slot_) module_->CloseAllSessions(*slot_);
  slot_.reset();
}

void Keeper::Finalize() {
  DropLogin();
  std::unique_lock alone(gate_, std::defer_lock);
  Enter(alone);
  if (!initialized_) return;
  module_->Finalize();
  initialized_ = false;
}

Status Keeper::LoadAndInitialize() {
  if (module_ == nullptr) {
    auto module = pkcs11::Module::Load(config_.module);
    if (!module) return module.error();
    module_ = std::move(*module);
  }
  if (initialized_) return Ok();
  if (const Status mended = files_.Mend(); !mended) log::warn("{}", mended.error().message);
  const Status done = module_->Initialize();
  initialized_ = done.has_value();
  if (initialized_) {
    needs_restart_ = false;
    was_initialized_ = true;
    vain_initializations_ = 0;
  } else if (was_initialized_ && ++vain_initializations_ == kVainInitializations && !refused_pin_) {
    log::error("the module cannot be initialized again in this process, which ends: {}", done.error().message);
    callbacks_.on_hopeless();
  }
  return done;
}

Status Keeper::LogIn(const pkcs11::TokenInfo& token) {
  if (!token.pin_refusal.empty()) return MakeError(Reason::kPinRejected, token.pin_refusal);
  std::error_code ignored;
  const auto age = std::filesystem::last_write_time(uri_.pin_file(), ignored);
  auto pin = ReadPinFile(uri_.pin_file());
  if (!pin) return pin.error();
  if (refused_pin_ && refused_pin_->view() == pin->view()) {
    if (std::exchange(refused_file_, age) != age) status_.message.clear();  // signerd is told of each file that has it
    Error error = MakeError(Reason::kPinRejected, "the PIN was refused and is not tried again until its file changes");
    error.token_code = CKR_PIN_INCORRECT;  // not of the token's flags, which no file changes
    return error;
  }
  slot_ = token.slot;
  const bool only = token.max_sessions != 0 && token.max_sessions <= kKeptSessions;
  auto session = pkcs11::Session::Open(*module_, token.slot, only ? pkcs11::Access::kWrite : pkcs11::Access::kRead);
  if (!session) return session.error();
  const Status done = session->Login(CKU_USER, pin->view());
  if (!done) return Refused(done.error(), std::move(*pin));
  refused_pin_.reset();
  vain_logins_ = unknown_codes_ = 0;
  vain_openings_ = 0;
  const auto login = std::make_shared<Login>(*module_, token, std::move(*session), only, ++generation_);
  const std::lock_guard lock(mutex_);
  login_ = login;
  return Ok();
}

Error Keeper::Refused(Error error, SecretString pin) {
  vain_logins_ = pkcs11::SaysNothing(error) ? vain_logins_ + 1 : 0;
  unknown_codes_ = pkcs11::IsUnknown(error) ? unknown_codes_ + 1 : 0;
  if (unknown_codes_ == kUnknownCodes) {
    unknown_codes_ = vain_logins_ = 0;
    error.reason = Reason::kPinRejected;
    error.message += ", again and again: taken for a refusal of the PIN, which is not tried until its file changes";
  }
  if (error.reason == Reason::kPinRejected) refused_pin_ = std::move(pin);
  return error;
}

Status Keeper::CheckLogin(Login& present) {
  std::shared_lock shared(gate_, std::defer_lock);
  std::unique_lock alone(gate_, std::defer_lock);
  if (present.only) {
    Enter(alone);
  } else {
    Enter(shared);
  }
  const auto token = module_->Describe(present.token.slot);
  if (!token) return token.error();
  if (token->serial != present.token.serial || token->label != present.token.label) {
    return MakeError(Reason::kTokenDown, "another token is in the slot");
  }
  return present.session.CheckLoggedIn();
}

// Notices a token or a login that went while nobody was signing.
milliseconds Keeper::LookAfter() {
  const auto present = login();
  if (present == nullptr) return kAtOnce;
  if (making_) return kLook;
  const Status well = CheckLogin(*present);
  if (well) return kLook;
  // Where a worker was first, its report waits, and this one is of no account.
  Report(present->generation, pkcs11::RecoveryFor(well.error()), well.error());
  return kAtOnce;
}

void Keeper::Tell(TokenState state, const Error& error) {
  state_ = state;
  callbacks_.on_state();
  if (status_.state == state && status_.message == error.message) return;  // one line a change
  status_ = {};
  status_.state = state;
  status_.message = error.message;
  status_.token_code = error.token_code;
  status_.generation = generation_;
  log::warn("{}", error.message);
  callbacks_.on_status(status_);
}

void Keeper::TellReady(const pkcs11::TokenInfo& token) {
  sessions_ = SessionsFor(config_.sessions, token);
  {
    const std::lock_guard lock(mutex_);
    if (login_ == nullptr) return;  // trouble came already
    state_ = TokenState::kReady;
  }
  callbacks_.on_state();
  status_ = {};
  status_.state = TokenState::kReady;
  status_.label = token.label;
  status_.serial = token.serial;
  status_.manufacturer = token.manufacturer;
  status_.model = token.model;
  status_.generation = generation_;
  status_.wants_data = token.rsa_pkcs ? 0 : 1;
  status_.cannot_make = static_cast<std::uint8_t>((token.makes_no_rsa ? 1 : 0) | (token.makes_no_ed25519 ? 2 : 0));
  status_.sessions = sessions_;
  log::info("token ready: {} {}, label {}, serial {}, {} sessions", token.manufacturer, token.model, token.label,
            token.serial, status_.sessions);
  callbacks_.on_status(status_);
}

}  // namespace hallmark::tokend
