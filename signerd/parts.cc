#include "signerd/parts.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "firmware/runtime/log.h"
#include "signerd/initial_policy.h"
#include "signerd/service/rotation_convert.h"

namespace hallmark {
namespace {

constexpr std::chrono::seconds kPresenceInterval{600}, kCopyInterval{60};
constexpr std::chrono::hours kStuck{1};     // a rotation that waits longer for what should be there
constexpr char kRestoring[] = "restoring";  // in the state: dkimctl is filling it

// A state that is being erased, or that a restore did not finish, is none to sign with.
Status CheckState(const std::filesystem::path& directory) {
  std::error_code failed;
  if (std::filesystem::exists(directory / kResetMark, failed)) {
    return MakeError(Reason::kStateConflict, (directory / kResetMark).string() +
                                                 ": a factory reset destroyed the keys; the box is to erase the state");
  }
  if (std::filesystem::exists(directory / kRestoring, failed)) {
    return MakeError(Reason::kStateConflict, (directory / kRestoring).string() +
                                                 ": a restore was cut short: empty the folder, and restore again");
  }
  return Ok();
}

// A restore puts the ledger into the state. Where the configuration has it elsewhere signerd would begin another one,
// or go on with one that is not of this database.
Status CheckLedgerPlace(const std::filesystem::path& state, const std::filesystem::path& ledger) {
  const std::filesystem::path within = state / "ledger";
  std::error_code failed;
  if (std::filesystem::equivalent(within, ledger, failed)) return Ok();
  const std::filesystem::directory_iterator segments(within / "segments", failed);
  if (failed || segments == std::filesystem::directory_iterator()) return Ok();
  return MakeError(Reason::kStateConflict,
                   within.string() + ": has a ledger, but ledger.directory is " + ledger.string() +
                       ": if a restore put it there, or it is the one to go on with, move it to that place, and what "
                       "is there aside; if not, move it out of the state");
}

// The unit lets the daemon write to few places.
Status MakeLedgerFolder(const std::filesystem::path& ledger) {
  std::error_code failed;
  std::filesystem::create_directories(ledger, failed);
  if (!failed && ::access(ledger.c_str(), W_OK) != 0) failed.assign(errno, std::generic_category());
  if (!failed) return Ok();
  return MakeError(Reason::kIoFailed,
                   ledger.string() + ": cannot be written: " + failed.message() +
                       "; it must belong to signerd's user, and the unit must have it in ReadWritePaths= where it is "
                       "not in the state (docs/operations.md, \"What the services may\")");
}

// Nothing where there is no record.
std::chrono::sys_seconds LastRecordTime(const ledger::Ledger& ledger, const ledger::Indexer& indexer) {
  const std::uint64_t size = ledger.durable().size;
  const auto octets = size == 0 ? Result<std::string>(std::string()) : indexer.Record(size - 1);
  hallmark::ledger::v1::Record record;
  if (!octets || !record.ParseFromString(*octets)) return {};
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(record.time_us())));
}

// Whether what is older than so many days may be told by the clock.
Status ClockIsSet(const health::Health& health) {
  if (!health.Current().has_observe_time() || health.awaits_clock()) {
    return MakeError(Reason::kLedgerUnavailable, "whether the clock is set is not known yet");
  }
  return health.clock_not_set() ? MakeError(Reason::kStateConflict, "the clock is not set") : Ok();
}

// Where systemd has the daemon put what others may read: the unit's RuntimeDirectory=. Empty elsewhere.
std::filesystem::path PublishedHealth() {
  const char* folder = std::getenv("RUNTIME_DIRECTORY");
  return folder == nullptr ? std::filesystem::path() : std::filesystem::path(folder) / "health.json";
}

// The keys of a snapshot that sign.
keys::Presence::Keys ActiveKeys(const snapshot::Snapshot& snapshot) {
  keys::Presence::Keys keys;
  for (const auto& [name, domain] : snapshot.domains) {
    keys.insert(keys.end(), domain.active_keys.begin(), domain.active_keys.end());
  }
  return keys;
}

pipeline::PipelineConfig Observed(pipeline::PipelineConfig config, watch::Tap& tap) {
  config.observer = &tap;
  return config;
}

// Where keys have to be copied from token to token it is news when one is.
std::chrono::seconds PresenceInterval(const SignerdConfig& config, const tokens::TokenSet& tokens) {
  const bool copies = std::any_of(config.tokens.begin(), config.tokens.end(), [&](const tokens::TokenConfig& token) {
    return tokens.MembersOf(token.group_name()).size() > 1;
  });
  return copies ? kCopyInterval : kPresenceInterval;
}

backup::BackupSettings OfThisVersion(backup::BackupSettings settings) {
  settings.version = HALLMARK_VERSION;
  return settings;
}

}  // namespace

Result<std::unique_ptr<State>> State::Open(const SignerdConfig& config) {
  std::error_code failed;
  std::filesystem::create_directories(config.state_directory, failed);
  Status done = CheckState(config.state_directory);
  if (done) done = CheckLedgerPlace(config.state_directory, config.ledger.directory);
  if (!done) return done.error();
  auto store = store::Store::Open(config.state_directory / "hallmark.db");
  if (!store) return store.error();
  done = PutInitialPolicy(**store, config.initial_policy);
  if (done) done = PutInitialRotation(**store, config.initial_rotation);
  if (done) done = PutInitialDomains(**store, config.initial_domains, SystemClock());
  if (!done) return done.error();
  auto first = (*store)->BuildSnapshot(nullptr);
  if (!first) return first.error();
  return std::make_unique<State>(std::move(*store), std::move(*first));
}

State::State(std::unique_ptr<store::Store> opened, std::shared_ptr<snapshot::Snapshot> first)
    : store(std::move(opened)), current(std::move(first)) {}

Status State::Publish() {
  const std::lock_guard lock(publishing_);
  auto next = store->BuildSnapshot(current.Get().get());
  unpublished_ = !next;
  if (!next) return next.error();
  current.Set(std::move(*next));
  return Ok();
}

Tokens::Tokens(const SignerdConfig& config, const std::filesystem::path& tokend, State& state)
    : set(tokend, config.tokens),
      signer(set),
      checkpoint_key(*state.store, set, signer, state.clock, config.checkpoint_token) {}

Result<std::unique_ptr<Books>> Books::Open(const SignerdConfig& config, const Clock& clock) {
  const Status made = MakeLedgerFolder(config.ledger.directory);
  if (!made) return made.error();
  auto recipients = ledger::Recipients::Open(config.recipients, config.ledger.directory);
  if (!recipients) return recipients.error();
  auto ledger = ledger::Ledger::Open(config.ledger, clock);
  if (!ledger) return ledger.error();
  return std::make_unique<Books>(std::move(*recipients), std::move(*ledger));
}

Books::Books(ledger::Recipients known, std::unique_ptr<ledger::Ledger> opened)
    : recipients(std::move(known)),
      ledger(std::move(opened)),
      indexer(ledger::Indexer::Start(ledger->directory(), [this] { return ledger->durable().size; })),
      last_record(LastRecordTime(*ledger, *indexer)) {}

Signing::Signing(const SignerdConfig& config, State& state, Tokens& tokens, Books& books)
    : pipeline(Observed(config.pipeline, tap), tokens.set, state.clock, state.current, quotas, *books.ledger,
               books.recipients, [&books](std::uint64_t sequence) { return books.indexer->Record(sequence); }),
      self_test({tokens.set, state.current,
                 [&state] {
                   const auto key = RecordedCheckpointKey(*state.store);
                   return key ? *key : nullptr;
                 },
                 state.clock}),
      health({config.health, self_test, [&tokens] { return tokens.set.Facts(); }, state.clock, books.last_record,
              PublishedHealth()}) {}

Result<std::unique_ptr<ledger::Retention>> StartRetention(const SignerdConfig& config, State& state, Books& books,
                                                          const Signing& signing) {
  return ledger::Retention::Start({*books.ledger, *books.indexer, state.clock, config.keep_days, books.last_record,
                                   [&health = signing.health] { return ClockIsSet(health); }});
}

Result<std::unique_ptr<Rotation>> Rotation::Open(const SignerdConfig& config, State& state, Tokens& tokens,
                                                 Books& books, ledger::Retention& retention) {
  auto records = KeyRecords::Open(config.dns, state.clock);
  if (!records) return records.error();
  return std::make_unique<Rotation>(config, state, tokens, books, retention, std::move(*records));
}

Rotation::Rotation(const SignerdConfig& config, State& state, Tokens& tokens, Books& books,
                   ledger::Retention& retention, std::unique_ptr<KeyRecords> opened)
    : keys(*state.store, tokens.signer, state.clock, [&state] { return state.Publish(); }),
      records(std::move(opened)),
      rotator({*state.store, tokens.signer, *records, *records, state.clock, [&state] { return state.Publish(); },
               [&state] { return state.PublishAgain(); },
               [&books](const store::KeyEvent& step, const std::string& outcome) {
                 const auto record = service::ToLedgerRecord(step, outcome);
                 return outcome == "BEGUN" ? books.Journal(record) : books.Note(record);
               },
               [&retention](std::chrono::sys_seconds time) { return retention.CountsSince(time); }},
              keys.locks()),
      initial_records(*state.store, config.initial_domains, config.state_directory / "dns-records"),
      schedule(
          [this](const std::string& domain) {
            const auto next = rotator.Tick(domain);
            initial_records.Look();
            return next;
          },
          state.clock) {}

Result<std::unique_ptr<Front>> Front::Open(const SignerdConfig& config, State& state, Signing& signing) {
  auto for_signing = service::Transport::Open("signing", config.signing, state.current, state.clock);
  if (!for_signing) return for_signing.error();
  auto for_admin = service::Transport::Open("admin", config.admin, state.current, state.clock);
  if (!for_admin) return for_admin.error();
  return std::make_unique<Front>(config, state, signing, std::move(*for_signing), std::move(*for_admin));
}

Front::Front(const SignerdConfig& config, State& state, Signing& signing,
             std::unique_ptr<service::Transport> for_signing, std::unique_ptr<service::Transport> for_admin)
    : signing_transport(std::move(for_signing)),
      admin_transport(std::move(for_admin)),
      transport_watch({signing_transport.get(), admin_transport.get()}, state.clock),
      signing_service({state.current, *signing_transport, signing.pipeline, signing.health.clock_not_set(),
                       signing.drain, static_cast<std::size_t>(config.message_octets)}) {}

Result<std::unique_ptr<Admin>> Admin::Open(const SignerdConfig& config, const Parts& parts,
                                           const std::filesystem::path& reset_mark) {
  auto operators = operators::Operators::Open(*parts.state.store, parts.state.clock, config.operators);
  if (!operators) return operators.error();
  auto approvals = operators::Approvals::Open(*parts.state.store, parts.state.clock, config.approval_length);
  if (!approvals) return approvals.error();
  return std::make_unique<Admin>(config, parts, reset_mark, std::move(*operators), std::move(*approvals));
}

std::function<Status()> Admin::Parts::Publish() const {
  return [&state = state] { return state.Publish(); };
}

std::function<Status(const hallmark::ledger::v1::Record&)> Admin::Parts::Journal() const {
  return [&books = books](const hallmark::ledger::v1::Record& record) { return books.Journal(record); };
}

std::function<Status(const hallmark::ledger::v1::Record&)> Admin::Parts::Note() const {
  return [&books = books](const hallmark::ledger::v1::Record& record) { return books.Note(record); };
}

std::function<void(const std::string& domain)> Admin::Parts::Poke() const {
  return [&schedule = rotation.schedule](const std::string& domain) { schedule.Poke(domain); };
}

std::function<Result<ledger::VerifierKeys>()> Admin::Parts::VerifierKeys(const SignerdConfig& config) const {
  return
      [&store = *state.store, &log = config.ledger] { return RecordedVerifierKeys(store, log.directory, log.origin); };
}

Admin::Admin(const SignerdConfig& config, const Parts& parts, const std::filesystem::path& reset_mark,
             std::unique_ptr<operators::Operators> known, std::unique_ptr<operators::Approvals> waiting)
    : all(parts),
      operators(std::move(known)),
      approvals(std::move(waiting)),
      presence([&state = all.state] { return ActiveKeys(*state.current.Get()); }, all.tokens.signer,
               PresenceInterval(config, all.tokens.set)),
      backup(OfThisVersion(config.backup)),
      gate({*all.front.admin_transport, *operators, *approvals, all.Journal(), all.Note()}),
      operator_service({gate, *operators, *approvals}),
      admin_service({gate, *all.state.store, all.rotation.keys, all.rotation.rotator, all.state.current,
                     all.signing.pipeline, all.tokens.set, all.signing.health, all.state.clock, all.Publish(),
                     all.Poke(), HALLMARK_VERSION, backup.box, presence}),
      rotation_service({gate, *all.state.store, all.rotation.rotator, *all.rotation.records, all.tokens.signer,
                        all.state.clock, all.Poke(),
                        [&schedule = all.rotation.schedule](const std::string& domain) { schedule.Queue(domain); }}),
      migration_service({gate, all.rotation.keys}),
      policy_service({gate, *all.state.store, all.signing.pipeline.reception(), all.Publish()}),
      certificate_service(
          {gate, *all.state.store, all.state.current, all.front.transport_watch, all.state.clock, all.Publish()}),
      ledger_service(
          {gate, *all.books.ledger, *all.books.indexer, all.retention, all.books.recipients, all.VerifierKeys(config)}),
      alert_service({gate, *all.state.store, all.state.clock}),
      appliance_service({gate, *all.books.ledger, *all.state.store, all.tokens.signer, all.rotation.keys,
                         all.state.clock, backup, all.VerifierKeys(config), reset_mark, all.Note(),
                         [this] { StopMakingKeys(); }, [] { ::kill(::getpid(), SIGTERM); }}) {}

std::vector<grpc::Service*> Admin::Services() {
  return {&admin_service, &policy_service,   &certificate_service, &operator_service, &ledger_service,
          &alert_service, &rotation_service, &migration_service,   &appliance_service};
}

void Admin::StopMakingKeys() {
  const std::lock_guard lock(stopping);
  all.rotation.schedule.Stop();
  all.books.ledger->StopCheckpoints();  // the first one makes a key
}

void Admin::StopCheckpoints() {
  const std::lock_guard lock(stopping);
  all.books.ledger->StopCheckpoints();
}

Result<std::unique_ptr<Watching>> Watching::Open(const SignerdConfig& config, Admin& admin) {
  std::unique_ptr<watch::Webhook> webhook;
  if (!config.webhook.url.empty()) {
    auto started = watch::Webhook::Start(config.webhook, *admin.all.state.store);
    if (!started) return started.error();
    webhook = std::move(*started);
  }
  return std::make_unique<Watching>(config, admin, std::move(webhook));
}

Watching::Watching(const SignerdConfig& config, Admin& admin, std::unique_ptr<watch::Webhook> told)
    : webhook(std::move(told)),
      watcher({config.watch, admin.all.signing.tap.traffic, *admin.all.state.store, admin.all.state.current,
               admin.all.state.clock, admin.all.Note(),
               [&admin](const std::string& partner) { return admin.policy_service.SuspendPartner(partner); },
               [&ledger = *admin.all.books.ledger] { return ledger.trouble(); },
               [&rotator = admin.all.rotation.rotator] { return rotator.Troubles(kStuck); },
               [&health = admin.all.signing.health] { return health.Troubles(); }, webhook.get()}) {}

}  // namespace hallmark
