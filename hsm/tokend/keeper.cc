#include "hsm/tokend/keeper.h"

#include <openssl/evp.h>

#include <algorithm>

#include "firmware/runtime/log.h"
#include "firmware/runtime/secret.h"

namespace hallmark::tokend {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLook{1000};
constexpr milliseconds kAtOnce{0};
// A module that is in trouble is not hammered with C_Initialize.
constexpr std::chrono::seconds kBetweenReinitializations{30};

Bytes Fingerprint(std::string_view secret) {
  Bytes digest(32);
  unsigned size = 0;
  EVP_Digest(secret.data(), secret.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return digest;
}

}  // namespace

Keeper::Keeper(Config config, pkcs11::TokenUri uri, std::function<void(const link::TokenStatus&)> on_status)
    : config_(std::move(config)), uri_(std::move(uri)), on_status_(std::move(on_status)) {}

Keeper::~Keeper() { Stop(); }

void Keeper::Start() {
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
  const std::lock_guard lock(mutex_);
  if (login_ == nullptr || login_->generation != generation) return;  // it is being seen to
  login_.reset();
  state_ = link::TokenState::kStarting;
  trouble_ = Trouble{recovery, error};
  wake_.notify_all();
}

link::Outcome Keeper::OutcomeWithoutLogin() const {
  const std::lock_guard lock(mutex_);
  return state_ == link::TokenState::kPinRejected ? link::Outcome::kPinRejected : link::Outcome::kTokenDown;
}

bool Keeper::starting() const {
  const std::lock_guard lock(mutex_);
  return state_ == link::TokenState::kStarting || state_ == link::TokenState::kReady;
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
    if (trouble) {
      log::warn("token trouble: {}: {}", trouble->error.message,
                trouble->recovery == pkcs11::Recovery::kModule ? "initializing the module again" : "logging in again");
      const bool finalize = trouble->recovery == pkcs11::Recovery::kModule;
      DropLogin(finalize);
      if (finalize && steady_clock::now() - last_reinitialization_ < kBetweenReinitializations) {
        Tell(link::TokenState::kDown, trouble->error);
        pause = kBetweenReinitializations;
        last_reinitialization_ = {};
        continue;
      }
      if (finalize) last_reinitialization_ = steady_clock::now();
    }
    pause = login() == nullptr ? BringUp() : LookAfter();
  }
  DropLogin(true);
}

// Takes the login from the workers and waits until none of them is within the module.
void Keeper::DropLogin(bool finalize) {
  const std::unique_lock module_lock(module_mutex_);
  std::shared_ptr<Login> last;
  {
    const std::lock_guard lock(mutex_);
    last.swap(login_);
  }
  if (finalize && initialized_) {
    module_->Finalize();
    initialized_ = false;
  }
}

Status Keeper::LoadAndInitialize() {
  if (module_ == nullptr) {
    auto module = pkcs11::Module::Load(config_.module);
    if (!module) return module.error();
    module_ = std::move(*module);
  }
  if (!initialized_) {
    const Status done = module_->Initialize();
    if (!done) return done;
    initialized_ = true;
  }
  return Ok();
}

milliseconds Keeper::BringUp() {
  const Status loaded = LoadAndInitialize();
  if (!loaded) {
    Tell(link::TokenState::kDown, loaded.error());
    return kLook;
  }
  const auto token = module_->FindToken(uri_);
  if (!token) {
    Tell(link::TokenState::kAbsent, token.error());
    DropLogin(true);  // many modules see a new token only when they are initialized again
    return kLook;
  }
  const Status done = LogIn(*token);
  if (done) {
    TellReady(*token);
  } else {
    Tell(done.error().reason == Reason::kPinRejected ? link::TokenState::kPinRejected : link::TokenState::kDown, done.error());
    if (pkcs11::RecoveryFor(done.error()) == pkcs11::Recovery::kModule) DropLogin(true);
  }
  return kLook;
}

Status Keeper::LogIn(const pkcs11::TokenInfo& token) {
  if ((token.flags & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY)) != 0) {
    return MakeError(Reason::kPinRejected, "the token's PIN is locked or at its last try: log in by hand once, then restart");
  }
  const auto pin = ReadSecretFile(uri_.pin_file());
  if (!pin) return pin.error();
  const Bytes fingerprint = Fingerprint(pin->view());
  if (fingerprint == refused_pin_) {
    return MakeError(Reason::kPinRejected, "the PIN was refused and is not tried again until its file changes");
  }
  auto session = pkcs11::Session::Open(*module_, token.slot, pkcs11::Access::kRead);
  if (!session) return session.error();
  const Status done = session->Login(CKU_USER, pin->view());
  if (!done && done.error().reason == Reason::kPinRejected) refused_pin_ = fingerprint;
  if (!done) return done;
  refused_pin_.clear();
  const auto login = std::make_shared<Login>(*module_, token, std::move(*session), ++generation_);
  const std::lock_guard lock(mutex_);
  login_ = login;
  return Ok();
}

// Notices a token that went while nobody was signing.
milliseconds Keeper::LookAfter() {
  const auto present = login();
  if (present == nullptr) return kAtOnce;
  const auto token = module_->Describe(present->token.slot);
  if (token && token->serial == present->token.serial && token->label == present->token.label) return kLook;
  const Error gone = token ? MakeError(Reason::kTokenDown, "another token is in the slot") : token.error();
  log::warn("the token is gone: {}", gone.message);
  DropLogin(true);
  return kAtOnce;
}

void Keeper::Tell(link::TokenState state, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }
  if (status_.state == state && status_.message == error.message) return;  // one line a change
  status_ = {};
  status_.state = state;
  status_.message = error.message;
  status_.token_code = error.token_code;
  status_.generation = generation_;
  log::warn("{}", error.message);
  on_status_(status_);
}

void Keeper::TellReady(const pkcs11::TokenInfo& token) {
  {
    const std::lock_guard lock(mutex_);
    if (login_ == nullptr) return;  // trouble came already
    state_ = link::TokenState::kReady;
  }
  status_ = {};
  status_.state = link::TokenState::kReady;
  status_.label = token.label;
  status_.serial = token.serial;
  status_.manufacturer = token.manufacturer;
  status_.model = token.model;
  status_.generation = generation_;
  status_.wants_data = token.rsa_pkcs ? 0 : 1;
  // One session is kept for the login, one for key management.
  const unsigned long limit = token.max_sessions == 0 ? config_.sessions : std::max(3ul, token.max_sessions) - 2;
  status_.sessions = static_cast<std::uint32_t>(std::min<unsigned long>(config_.sessions, limit));
  log::info("token ready: {} {}, label {}, serial {}, {} sessions", token.manufacturer, token.model, token.label, token.serial,
            status_.sessions);
  on_status_(status_);
}

}  // namespace hallmark::tokend
