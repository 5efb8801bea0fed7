#include "signerd/tokens/token.h"

#include <boost/asio/local/stream_protocol.hpp>

#include <algorithm>

#include "firmware/runtime/log.h"

namespace hallmark::tokens {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kTick{100};
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{5000};
constexpr int kDeathsUntilDown = 4;
constexpr std::chrono::seconds kLongLife{10};
// How long signatures wait for a token that is starting. It may hang.
constexpr std::chrono::seconds kStartPatience{5};
constexpr std::chrono::seconds kBetweenDistrusts{5};
// A TPM makes an RSA key in up to a minute, and signs nothing meanwhile.
constexpr std::chrono::seconds kLongestWaitForKey{120};

// When the file last changed; the epoch when it cannot be told.
std::filesystem::file_time_type AgeOf(const std::filesystem::path& file) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(file, error);
  return error ? std::filesystem::file_time_type() : time;
}

}  // namespace

Token::Token(boost::asio::io_context& io, std::filesystem::path tokend, TokenConfig config)
    : io_(io),
      program_(std::move(tokend)),
      config_(std::move(config)),
      tick_(io),
      respawn_(io),
      key_calls_(config_.name) {
  status_.state = link::TokenState::kStarting;
}

Token::~Token() = default;

void Token::Start() {
  Spawn();
  ScheduleTick();
}

void Token::Stop() {
  stopped_ = true;
  ++connection_;
  tick_.cancel();
  respawn_.cancel();
  if (channel_ != nullptr) channel_->Close();
  channel_.reset();
  if (process_) process_->WaitForEnd();
  process_.reset();
  const Error error = MakeError(Reason::kShuttingDown, "the daemon is stopping");
  for (auto& [id, attempt] : in_flight_) waiting_.PushFront(std::move(attempt));
  in_flight_.clear();
  FailWaiting(error);
  key_calls_.FailAll(error);
}

void Token::EndKeyCalls() {
  key_calls_ended_ = true;
  key_calls_.FailAll(MakeError(Reason::kShuttingDown, "the daemon is stopping"));
}

void Token::Spawn() {
  status_ = {};
  status_.state = link::TokenState::kStarting;
  NoteState();
  has_signed_ = false;
  spawned_ = steady_clock::now();
  known_keys_.clear();
  ++starts_;
  auto process = TokendProcess::Spawn(program_, config_);
  if (!process) {
    Replace(process.error().message);
    return;
  }
  boost::asio::local::stream_protocol::socket socket(io_);
  boost::system::error_code failed;
  FileDescriptor link = process->TakeLink();
  socket.assign(boost::asio::local::stream_protocol(), link.Release(), failed);
  process_.emplace(std::move(*process));
  if (failed) {
    Replace("cannot use the link to tokend: " + failed.message());
    return;
  }
  channel_ = link::Channel::Create(std::move(socket));
  const std::uint64_t connection = ++connection_;
  channel_->Start(
      [this, connection](link::Frame frame) {
        if (connection == connection_) OnFrame(std::move(frame));
      },
      [this, connection](Error error) {
        if (connection == connection_) Replace("tokend is gone: " + error.message);
      });
}

void Token::Replace(const std::string& why) {
  if (stopped_) return;
  distrusted_ = false;
  sick_ = true;
  ++connection_;
  if (channel_ != nullptr) channel_->Close();
  channel_.reset();
  process_.reset();
  const bool was_well =
      status_.state == link::TokenState::kReady && (has_signed_ || steady_clock::now() - spawned_ > kLongLife);
  early_deaths_ = was_well ? 0 : early_deaths_ + 1;
  if (early_deaths_ <= kDeathsUntilDown) log::warn("token {}: {}", config_.name, why);
  if (early_deaths_ == kDeathsUntilDown) {
    log::error("token {}: tokend keeps ending; trying every {} s", config_.name, kLongestPause.count() / 1000);
  }

  const Error error = MakeError(Reason::kTokenDown, "token " + config_.name + ": " + why);
  FailInFlight(error);
  GiveBack(why);
  key_calls_.FailAll(error);

  status_.state = early_deaths_ >= kDeathsUntilDown ? link::TokenState::kDown : link::TokenState::kStarting;
  status_.message = why;
  if (IsPinRefused()) {
    // A new tokend would try the PIN again, and tokens lock after a few tries: only a new PIN file makes it worth one.
    status_.state = link::TokenState::kPinRejected;
    status_.message = "the PIN was refused; tokend starts again when its file changes";
  }
  NoteState();
  ScheduleRespawn();
  if (const auto refusal = Refusal()) FailWaiting(*refusal);
}

void Token::ScheduleRespawn() {
  milliseconds pause = kFirstPause;
  for (int i = 1; i < early_deaths_ && pause < kLongestPause; ++i) pause *= 2;
  pause = std::min(pause, kLongestPause);
  respawn_.expires_after(pause);
  const std::uint64_t connection = connection_;
  respawn_.async_wait([this, connection](boost::system::error_code stopped) {
    if (stopped || stopped_ || connection != connection_) return;
    waits_for_pin_ = IsPinRefused();
    if (!waits_for_pin_) Spawn();  // else OnTick looks again
  });
}

bool Token::IsPinRefused() const { return refused_pin_age_ && AgeOf(config_.pin_file) == *refused_pin_age_; }

void Token::NoteState() {
  const auto now = steady_clock::now();
  if (status_.state != link::TokenState::kStarting) {
    starting_since_.reset();
  } else if (!starting_since_) {
    starting_since_ = now;
  }
  if (status_.state == link::TokenState::kReady) {
    ready_since_ = now;
    key_calls_.NoteReady(now);
  } else {
    pace_.Interrupt();
  }
}

std::optional<Error> Token::StartsForLong() const {
  if (!starting_since_ || steady_clock::now() - *starting_since_ < kStartPatience) return std::nullopt;
  return MakeError(Reason::kTokenDown, "token " + config_.name + ": it has been starting for too long");
}

void Token::Distrust() {
  sick_ = true;
  const bool did_not_help = distrusted_ && steady_clock::now() - spawned_ < kBetweenDistrusts;
  if (stopped_ || !process_ || did_not_help) return;
  Replace("a signature does not verify: tokend is replaced");
  distrusted_ = true;
}

std::optional<Error> Token::Refusal() const {
  const auto error = [&](Reason reason, const std::string& text) {
    return Error{reason,
                 "token " + config_.name + ": " + text + (status_.message.empty() ? "" : ": " + status_.message),
                 status_.token_code};
  };
  using enum link::TokenState;
  switch (status_.state) {
    case kStarting:
    case kReady: return std::nullopt;
    case kAbsent: return error(Reason::kTokenDown, "the token is not there");
    case kPinRejected: return error(Reason::kPinRejected, "the PIN was refused");
    case kDown: return error(Reason::kTokenDown, "the token is down");
  }
  return error(Reason::kInternal, "the token's state does not exist");
}

void Token::OnFrame(link::Frame frame) {
  if (const auto* hello = std::get_if<link::Hello>(&frame)) {
    if (hello->version != link::kVersion)
      Replace("tokend speaks another version of the link: install matching programs");
  } else if (const auto* status = std::get_if<link::TokenStatus>(&frame)) {
    OnStatus(*status);
  } else if (const auto* results = std::get_if<link::SignResults>(&frame)) {
    OnResults(*results);
  } else if (const auto* reply = std::get_if<link::KeyReply>(&frame)) {
    const auto now = steady_clock::now();
    NoteKeyWait(now);
    if (key_calls_.Begun()) last_answer_ = now;
    key_calls_.Answer(*reply, now);
  } else if (const auto* begun = std::get_if<link::KeyCallBegun>(&frame)) {
    key_calls_.NoteBegun(*begun, steady_clock::now());
  } else if (!std::holds_alternative<link::Pong>(frame)) {
    Replace("tokend sent a frame that only signerd sends");
  }
}

void Token::OnStatus(const link::TokenStatus& status) {
  if (status.state != status_.state) {
    if (status.state == link::TokenState::kReady) {
      log::info("token {}: ready ({} {}, serial {}, {} sessions)", config_.name, status.manufacturer, status.model,
                status.serial, status.sessions);
    } else {
      log::warn("token {}: {} (CK_RV 0x{:x})", config_.name, status.message, status.token_code);
    }
  }
  status_ = status;
  // Without a code nothing was tried. Only now the file is the one that was: a new one may be there before tokend
  // looks.
  if (status_.state == link::TokenState::kPinRejected && status_.token_code != 0) {
    refused_pin_age_ = AgeOf(config_.pin_file);
  }
  if (status_.state == link::TokenState::kReady) refused_pin_age_.reset();
  NoteState();
  if (status_.state == link::TokenState::kStarting) GiveBack(status_.message);
  if (const auto refusal = Refusal()) {
    FailWaiting(*refusal);
  } else {
    Pump();
  }
}

void Token::ScheduleTick() {
  tick_.expires_after(kTick);
  tick_.async_wait([this](boost::system::error_code stopped) {
    if (stopped || stopped_) return;
    OnTick();
    ScheduleTick();
  });
}

void Token::OnTick() {
  const auto now = steady_clock::now();
  FailExpired(now);
  ReplaceIfItHangs(now);
  if (waits_for_pin_ && !IsPinRefused()) {
    waits_for_pin_ = false;
    Spawn();
  }
}

void Token::ReplaceIfItHangs(steady_clock::time_point now) {
  const bool key_call_hangs = key_calls_.FailExpired(now);
  if (Hangs(now)) {
    Replace("a signature took longer than " + std::to_string(config_.sign_timeout.count()) + " ms: tokend is replaced");
  } else if (key_call_hangs) {
    Replace("a call for a key does not come back: tokend is replaced");
  }
}

bool Token::Hangs(steady_clock::time_point now) const {
  // It waits for the login, which tokend itself watches.
  if (status_.state == link::TokenState::kStarting) return false;
  const bool waits = WaitsForKey(now);
  return std::any_of(in_flight_.begin(), in_flight_.end(), [&](const auto& entry) {
    const Attempt& attempt = entry.second;
    const auto since = std::max({attempt.sent, ready_since_, waited_until_});
    if (now - since <= config_.sign_timeout) return false;
    // That is seen while a key is made too: keys may be made one after the other for hours.
    if (IsOvertaken(attempt, since)) return true;
    return !waits && now - std::max(since, last_answer_) > config_.sign_timeout;
  });
}

bool Token::WaitsForKey(steady_clock::time_point now) const {
  const auto making = key_calls_.Begun();
  if (!making || making->alone || status_.sessions <= 1) return making.has_value();
  // What was in the module already comes back after the key was begun.
  return last_answer_ < making->time + config_.sign_timeout && now - making->time < kLongestWaitForKey;
}

void Token::NoteKeyWait(steady_clock::time_point now) {
  const auto making = key_calls_.Begun();
  if (!making || !WaitsForKey(now)) return;
  if (now - std::max(making->time, last_answer_) > config_.sign_timeout) waited_until_ = now;
}

bool Token::IsOvertaken(const Attempt& attempt, steady_clock::time_point since) const {
  if (status_.sessions <= 1) return false;
  // It found a session free, and what came so much later did too.
  const bool at_once = attempt.among <= status_.sessions;
  if (at_once && newest_answered_ - since > config_.sign_timeout) return true;
  return answers_ - attempt.answers_before > attempt.among - 1 + status_.sessions;
}

void Token::SendKeyCall(link::Frame frame, std::uint64_t id, KeyDone done) {
  if (stopped_ || key_calls_ended_) {
    done(MakeError(Reason::kShuttingDown, "the daemon is stopping"));
    return;
  }
  if (const auto refusal = Refusal()) {
    done(*refusal);
    return;
  }
  if (channel_ == nullptr) {
    done(MakeError(Reason::kTokenDown, "token " + config_.name + ": the token is starting; try again"));
    return;
  }
  key_calls_.Add(id, status_.state == link::TokenState::kReady, std::move(done));
  channel_->Send(std::move(frame));
}

void Token::Generate(link::KeyType type, unsigned bits, const Bytes& cka_id, const std::string& label, KeyDone done) {
  const std::uint64_t id = next_id_++;
  SendKeyCall(link::GenerateKey{id, type, bits, cka_id, label}, id, std::move(done));
}

void Token::Find(const Bytes& cka_id, KeyDone done) {
  const std::uint64_t id = next_id_++;
  SendKeyCall(link::FindKey{id, cka_id}, id, std::move(done));
}

void Token::Destroy(const Bytes& cka_id, const Bytes& spki, KeyDone done) {
  const std::uint64_t id = next_id_++;
  SendKeyCall(link::DestroyKey{id, cka_id, spki}, id, std::move(done));
}

void Token::BeginImport(KeyDone done) {
  const std::uint64_t id = next_id_++;
  SendKeyCall(link::BeginImport{id}, id, std::move(done));
}

void Token::Import(link::ImportKey call, KeyDone done) {
  const std::uint64_t id = call.id = next_id_++;
  SendKeyCall(std::move(call), id, std::move(done));
}

TokenFacts Token::Facts() const {
  return {config_.name, status_, starts_, config_.group_name(), sick_, signatures_, load()};
}

}  // namespace hallmark::tokens
