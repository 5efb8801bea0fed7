#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "signerd/admission/quota.h"
#include "signerd/checkpoint_key.h"
#include "signerd/config.h"
#include "signerd/health/health.h"
#include "signerd/initial_domains.h"
#include "signerd/key_records.h"
#include "signerd/keys/key_manager.h"
#include "signerd/keys/presence.h"
#include "signerd/keys/schedule.h"
#include "signerd/ledger/indexer.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/retention.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/admin_gate.h"
#include "signerd/service/admin_service.h"
#include "signerd/service/alert_service.h"
#include "signerd/service/appliance_service.h"
#include "signerd/service/certificate_service.h"
#include "signerd/service/ledger_service.h"
#include "signerd/service/migration_service.h"
#include "signerd/service/operator_service.h"
#include "signerd/service/policy_service.h"
#include "signerd/service/rotation_service.h"
#include "signerd/service/signing_service.h"
#include "signerd/store/store.h"
#include "signerd/token_signer.h"
#include "signerd/tokens/token_set.h"
#include "signerd/watch/tap.h"
#include "signerd/watch/watcher.h"

// What the daemon is built of, in the order in which it is built; each refers to those before it, and they end in the
// opposite order, as the members of each do.
namespace hallmark {

inline constexpr char kResetMark[] = "factory-reset";  // in the state: its keys are destroyed

// What is stored, and the view of it that all others read.
class State {
 public:
  // Makes the folder, and puts in what hallmark.toml wants there from the first start on.
  static Result<std::unique_ptr<State>> Open(const SignerdConfig& config);
  State(std::unique_ptr<store::Store> opened, std::shared_ptr<snapshot::Snapshot> first);

  // Makes the store's state the current snapshot. Any thread.
  Status Publish();
  // The same, where the last time failed.
  Status PublishAgain() { return unpublished_ ? Publish() : Ok(); }

  const std::unique_ptr<store::Store> store;
  const SystemClock clock;
  snapshot::Current current;

 private:
  std::mutex publishing_;                 // one at a time, so that an older state never replaces a newer one
  std::atomic<bool> unpublished_{false};  // the store has what the snapshot does not
};

// The tokens, and who asks them to sign.
struct Tokens {
  Tokens(const SignerdConfig& config, const std::filesystem::path& tokend, State& state);

  tokens::TokenSet set;
  TokenSigner signer;
  CheckpointKey checkpoint_key;
};

// The ledger, and what reads it.
struct Books {
  static Result<std::unique_ptr<Books>> Open(const SignerdConfig& config, const Clock& clock);
  Books(ledger::Recipients known, std::unique_ptr<ledger::Ledger> opened);

  // Durable on return.
  Status Journal(const hallmark::ledger::v1::Record& record) { return ledger->AppendAndWait(record); }
  // The same for what is told to nobody in answer: it does not wait for a second sink, and is not told twice because
  // that one is late.
  Status Note(const hallmark::ledger::v1::Record& record) { return ledger->AppendAndWait(record, false); }

  const ledger::Recipients recipients;
  const std::unique_ptr<ledger::Ledger> ledger;
  const std::unique_ptr<ledger::Indexer> indexer;
  const std::chrono::sys_seconds last_record;  // when that was, at the start; 0: there is none
};

// The way of a message from the service to the ledger, and what tells whether it is open.
struct Signing {
  Signing(const SignerdConfig& config, State& state, Tokens& tokens, Books& books);

  admission::Quotas quotas;
  watch::Tap tap;
  service::Drain drain;
  pipeline::Pipeline pipeline;
  health::SelfTest self_test;
  health::Health health;
};

// Deletes what the ledger need not keep.
Result<std::unique_ptr<ledger::Retention>> StartRetention(const SignerdConfig& config, State& state, Books& books,
                                                          const Signing& signing);

// The keys of domains, and the DNS records that they have.
struct Rotation {
  static Result<std::unique_ptr<Rotation>> Open(const SignerdConfig& config, State& state, Tokens& tokens, Books& books,
                                                ledger::Retention& retention);
  Rotation(const SignerdConfig& config, State& state, Tokens& tokens, Books& books, ledger::Retention& retention,
           std::unique_ptr<KeyRecords> opened);

  keys::KeyManager keys;
  const std::unique_ptr<KeyRecords> records;
  keys::Rotator rotator;
  InitialRecords initial_records;
  keys::Schedule schedule;
};

// Where relays and operators come in, and what relays are answered by.
struct Front {
  static Result<std::unique_ptr<Front>> Open(const SignerdConfig& config, State& state, Signing& signing);
  Front(const SignerdConfig& config, State& state, Signing& signing, std::unique_ptr<service::Transport> for_signing,
        std::unique_ptr<service::Transport> for_admin);

  const std::unique_ptr<service::Transport> signing_transport, admin_transport;
  const service::TransportWatch transport_watch;
  service::SigningService signing_service;
};

// What operators are answered by.
struct Admin {
  struct Parts {
    State& state;
    Tokens& tokens;
    Books& books;
    Signing& signing;
    ledger::Retention& retention;
    Rotation& rotation;
    Front& front;

    // What others are given of these.
    std::function<Status()> Publish() const;
    std::function<Status(const hallmark::ledger::v1::Record&)> Journal() const;
    std::function<Status(const hallmark::ledger::v1::Record&)> Note() const;
    std::function<void(const std::string& domain)> Poke() const;
    std::function<Result<ledger::VerifierKeys>()> VerifierKeys(const SignerdConfig& config) const;
  };
  // `config` outlives it. `reset_mark`: where a factory reset leaves its mark for the box; empty where there is no such
  // box.
  static Result<std::unique_ptr<Admin>> Open(const SignerdConfig& config, const Parts& parts,
                                             const std::filesystem::path& reset_mark);
  Admin(const SignerdConfig& config, const Parts& parts, const std::filesystem::path& reset_mark,
        std::unique_ptr<operators::Operators> known, std::unique_ptr<operators::Approvals> waiting);

  std::vector<grpc::Service*> Services();  // all of them
  // From here on nothing makes or uses a key by itself. Waits for what is under way; any thread.
  void StopMakingKeys();
  // The last checkpoint is signed. Any thread.
  void StopCheckpoints();

  const Parts all;
  const std::unique_ptr<operators::Operators> operators;
  const std::unique_ptr<operators::Approvals> approvals;
  keys::Presence presence;
  const backup::BackupSettings backup;
  service::AdminGate gate;
  service::OperatorService operator_service;
  service::AdminService admin_service;
  service::RotationService rotation_service;
  service::MigrationService migration_service;
  service::PolicyService policy_service;
  service::CertificateService certificate_service;
  service::LedgerService ledger_service;
  service::AlertService alert_service;
  std::mutex stopping;  // held by who joins the threads that make keys: a factory reset, or the end
  service::ApplianceService appliance_service;
};

// What notices the unusual.
struct Watching {
  static Result<std::unique_ptr<Watching>> Open(const SignerdConfig& config, Admin& admin);
  Watching(const SignerdConfig& config, Admin& admin, std::unique_ptr<watch::Webhook> told);

  const std::unique_ptr<watch::Webhook> webhook;  // null where none is configured
  watch::Watcher watcher;
};

}  // namespace hallmark
