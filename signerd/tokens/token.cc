#include "signerd/tokens/token.h"

#include <boost/asio/local/stream_protocol.hpp>

#include <algorithm>

#include "firmware/runtime/log.h"
#include "signerd/dkim/limits.h"
#include "signerd/tokens/outcome_errors.h"

namespace hallmark::tokens {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kTick{100};
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{5000};
constexpr int kMaxAttempts = 2;
constexpr milliseconds kFrameTime{2};
constexpr std::size_t kMostAhead = 64;
// Of what is to be signed in one frame; one more fits in any case, as a header has its limit.
constexpr std::size_t kBatchOctets = link::kMaxFrame / 2;
static_assert(kBatchOctets + 2 * dkim::Limits{}.header_octets <= link::kMaxFrame);
constexpr int kDeathsUntilDown = 4;
constexpr std::chrono::seconds kLongLife{10};
// How long signatures wait for a token that is starting. It may hang.
constexpr std::chrono::seconds kStartPatience{5};
constexpr std::chrono::seconds kBetweenDistrusts{5};

link::KeyType TypeOf(const snapshot::Key& key) {
  return key.public_key->algorithm() == dkim::Algorithm::kRsaSha256 ? link::KeyType::kRsa : link::KeyType::kEd25519;
}

// Others can make it too: a token that cannot now gives it back at once with kTokenDown, and keeps nothing for its next
// tokend. In the second round it is kept.
bool OthersCanMake(const Signing& signing) { return signing.race != nullptr && !signing.race->last; }

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
  key_refs_.clear();
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
  const bool pin_rejected = status_.state == link::TokenState::kPinRejected;
  const bool was_well =
      status_.state == link::TokenState::kReady && (has_signed_ || steady_clock::now() - spawned_ > kLongLife);
  early_deaths_ = was_well ? 0 : early_deaths_ + 1;
  if (early_deaths_ <= kDeathsUntilDown) log::warn("token {}: {}", config_.name, why);
  if (early_deaths_ == kDeathsUntilDown) {
    log::error("token {}: tokend keeps ending; trying every {} s", config_.name, kLongestPause.count() / 1000);
  }

  // What was in flight goes first, once more.
  std::vector<std::pair<std::uint64_t, Attempt>> again;
  for (auto& entry : in_flight_) again.emplace_back(entry.first, std::move(entry.second));
  in_flight_.clear();
  std::sort(again.begin(), again.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const Error error = MakeError(Reason::kTokenDown, "token " + config_.name + ": " + why);
  for (auto& [id, attempt] : again) {
    if (attempt.signing.done == nullptr) continue;
    // A group asks each of its tokens twice itself.
    if (attempt.attempts < kMaxAttempts && attempt.signing.race == nullptr) {
      waiting_.PushFront(std::move(attempt));
    } else {
      attempt.signing.done(error);
    }
  }
  GiveBack(why);
  key_calls_.FailAll(error);

  milliseconds pause = kFirstPause;
  for (int i = 1; i < early_deaths_ && pause < kLongestPause; ++i) pause *= 2;
  pause = std::min(pause, kLongestPause);
  status_.state = early_deaths_ >= kDeathsUntilDown ? link::TokenState::kDown : link::TokenState::kStarting;
  status_.message = why;
  if (pin_rejected) {
    // A new tokend would try the PIN again, and tokens lock after a few tries: only a new PIN file makes it worth one.
    status_.state = link::TokenState::kPinRejected;
    status_.message = "the PIN was refused; tokend starts again when its file changes";
  }
  NoteState();
  respawn_.expires_after(pause);
  const auto age = AgeOf(config_.pin_file);
  const std::uint64_t connection = connection_;
  std::function<void(boost::system::error_code)> retry = [this, pin_rejected, age,
                                                          connection](boost::system::error_code stopped) {
    if (stopped || stopped_ || connection != connection_) return;
    if (pin_rejected && AgeOf(config_.pin_file) == age) {
      pin_file_age_ = age;
      return;  // OnTick looks again.
    }
    Spawn();
  };
  respawn_.async_wait(std::move(retry));
  if (const auto refusal = Refusal()) FailWaiting(*refusal);
}

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

void Token::OnFrame(link::Frame frame) {
  if (const auto* hello = std::get_if<link::Hello>(&frame)) {
    if (hello->version != link::kVersion)
      Replace("tokend speaks another version of the link: install matching programs");
  } else if (const auto* status = std::get_if<link::TokenStatus>(&frame)) {
    OnStatus(*status);
  } else if (const auto* results = std::get_if<link::SignResults>(&frame)) {
    OnResults(*results);
  } else if (const auto* reply = std::get_if<link::KeyReply>(&frame)) {
    last_answer_ = steady_clock::now();
    key_calls_.Answer(*reply, last_answer_);
  } else if (const auto* begun = std::get_if<link::KeyCallBegun>(&frame)) {
    key_calls_.NoteBegun(begun->id);
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
  NoteState();
  if (status_.state == link::TokenState::kStarting) GiveBack(status_.message);
  if (const auto refusal = Refusal()) {
    FailWaiting(*refusal);
  } else {
    Pump();
  }
}

void Token::OnResults(const link::SignResults& results) {
  const auto now = steady_clock::now();
  pace_.Learn(results.outcomes.size(), !waiting_.empty(), now);
  for (const link::SignOutcome& outcome : results.outcomes) {
    if (outcome.outcome != link::Outcome::kExpired) last_answer_ = now;  // not tokend's own clock
    const auto found = in_flight_.find(outcome.id);
    if (found == in_flight_.end()) continue;  // answered before: its deadline had passed
    Attempt attempt = std::move(found->second);
    in_flight_.erase(found);
    const bool made = outcome.outcome == link::Outcome::kOk;
    has_signed_ = has_signed_ || made;
    if (made) {
      ++signatures_;
      latency_.Learn(now - std::max(attempt.sent, ready_since_), attempt.among, status_.sessions);
    }
    if (attempt.signing.done == nullptr) continue;
    if (made) {
      attempt.signing.done(Made{outcome.signature, config_.name});
    } else {
      attempt.signing.done(ErrorOf(outcome.outcome, config_.name, outcome.token_code));
    }
  }
  Pump();
}

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
      waiting_.Push(flow, 1, Attempt{std::move(signing), {}, 0, 0});
    }
  }
  Pump();
}

std::uint32_t Token::RefOf(const snapshot::Key& key) {
  const Bytes& spki = key.public_key->Spki();
  const std::string name = std::string(AsText(key.cka_id)) + '/' + std::string(AsText(spki));
  const auto [place, fresh] = key_refs_.emplace(name, static_cast<std::uint32_t>(key_refs_.size() + 1));
  if (fresh) channel_->Send(link::DefineKey{place->second, TypeOf(key), key.cka_id, spki});
  return place->second;
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
    const link::KeyType type = TypeOf(*attempt.signing.key);
    const bool wants_data = attempt.signing.raw || (type == link::KeyType::kRsa && (status_.wants_data & 1) != 0);
    link::SignItem item;
    item.id = next_id_++;
    item.key_ref = RefOf(*attempt.signing.key);
    item.kind = wants_data ? link::InputKind::kData : link::InputKind::kDigest;
    const ByteView input = wants_data ? AsBytes(*attempt.signing.signed_data) : ByteView(attempt.signing.digest);
    item.input.assign(input.begin(), input.end());
    octets += input.size();
    latest = std::max(latest, attempt.signing.deadline);
    ++attempt.attempts;
    attempt.sent = now;
    attempt.among = in_flight_.size() + 1;
    in_flight_.emplace(item.id, std::move(attempt));
    batch.items.push_back(std::move(item));
  }
  const auto left = std::chrono::ceil<milliseconds>(latest - now).count();
  batch.timeout_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, 3'600'000));
  return batch;
}

void Token::FailWaiting(const Error& error) {
  for (Attempt& attempt : waiting_.Remove([](const Attempt&) { return true; })) {
    if (attempt.signing.done != nullptr) attempt.signing.done(error);
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
  ReplaceIfItHangs(now);
  if (pin_file_age_ && AgeOf(config_.pin_file) != *pin_file_age_) {
    pin_file_age_.reset();
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
  const auto oldest = std::min_element(in_flight_.begin(), in_flight_.end(),
                                       [](const auto& a, const auto& b) { return a.second.sent < b.second.sent; });
  if (oldest == in_flight_.end()) return false;
  const auto since = std::max(oldest->second.sent, ready_since_);
  if (status_.sessions > 1) return now - since > config_.sign_timeout;
  // On one session it is the one in the module, or waits there for a key that is being made, which may take minutes.
  return !key_calls_.HoldSession() && now - std::max(since, last_answer_) > config_.sign_timeout;
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

TokenFacts Token::Facts() const { return {config_.name, status_, starts_, config_.group_name(), sick_, signatures_}; }

}  // namespace hallmark::tokens
