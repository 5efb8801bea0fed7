#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/store/operator_rows.h"
#include "signerd/store/rotation_rows.h"
#include "signerd/store/sqlite.h"

namespace hallmark::store {

struct DomainRow {
  std::string name;
  std::string profile;
  std::chrono::sys_seconds created;
  std::int64_t active_keys = 0;
};

// A client certificate that is let in no more.
struct RevokedCertificate {
  std::string fingerprint;  // SHA-256 of its DER form, lower-case hexadecimal
  std::string reason, revoked_by;
  std::chrono::sys_seconds time;
};

// What the watcher found.
struct AlertRow {
  std::uint64_t id = 0;  // grows
  std::string kind, partner, signing_domain, message, action;
  std::chrono::sys_seconds raised, acknowledged{};  // not acknowledged: 0
  std::string acknowledged_by;
};

// Where a listing goes on: rows after this name, at most so many.
struct Page {
  std::string after;
  std::int64_t most = 1000;
};

// The daemon's state: domains, signing profiles, key records, partners and relays. Every call is one transaction that
// is durable when it returns, but for BuildSnapshot(). Any thread; callers take turns. Errors: Get, Update, Set and
// Delete are kNotFound where there is no such thing, Insert is kAlreadyExists where there is one, unless they say
// otherwise; any of them may be kStorageFailed. Lists are in order of name unless they say otherwise.
class Store {
 public:
  // Opens or creates the database and brings its schema up to date. One whose schema is a single step ahead is taken
  // back, with the way back that the newer Hallmark left in it; one that is further ahead is refused.
  static Result<std::unique_ptr<Store>> Open(const std::filesystem::path& path);
  // Writes what the database holds at one moment to `copy`, a file that is empty or not there, while others use the
  // database. Any thread, for as long as reading and writing it takes.
  static Status Copy(const std::filesystem::path& database, const std::filesystem::path& copy);

  // Domains that are signed for. Of a row to insert active_keys does not matter.
  Status InsertDomain(const DomainRow& domain);
  Result<DomainRow> GetDomain(const std::string& name);
  Result<std::vector<DomainRow>> ListDomains(const Page& page);
  Status SetDomainProfile(const std::string& name, const std::string& profile);

  // Signing profiles that were made; "default" is none of them. What may be in one the caller has checked.
  Status InsertProfile(const dkim::SigningProfile& profile);
  Status UpdateProfile(const dkim::SigningProfile& profile);
  Result<dkim::SigningProfile> GetProfile(const std::string& name);
  Result<std::vector<dkim::SigningProfile>> ListProfiles();

  // Key records. They are never deleted, so that a selector is not used twice; what changes one is CommitRotation().
  // kAlreadyExists: the selector, or this pair of the token, is the domain's already.
  Status InsertKey(const snapshot::Key& key);
  // Whether the selector was ever used in the domain.
  Result<bool> SelectorTaken(const std::string& domain, const std::string& selector);
  Result<snapshot::Key> GetKey(const std::string& domain, const std::string& selector);
  // Of all domains where `domain` is empty. page.after is "domain/selector".
  Result<std::vector<snapshot::Key>> ListKeys(const std::string& domain, const Page& page);

  // Rotation policies, of a domain or (empty) of all others. Put replaces one; where there is none Get gives
  // nothing, and Delete changes nothing.
  Result<std::optional<RotationPolicy>> GetRotationPolicy(const std::string& domain);
  Status PutRotationPolicy(const RotationPolicy& policy);
  Status DeleteRotationPolicy(const std::string& domain);

  // Where rotations are: what is known of a domain and its keys, the steps that were made, and those that are about to
  // be made in a token, which are planned first so that a power cut does not lose sight of them.
  Result<DomainLife> GetDomainLife(const std::string& domain);
  // Those with an emergency that is asked for or under way, or a key that operators want revoked and DNS still has.
  Result<std::vector<std::string>> ListUrgentDomains();
  Result<KeyLife> GetKeyLife(const std::string& domain, const std::string& selector);
  // kStateConflict when a key is no longer in the state that it is changed from.
  Status CommitRotation(const RotationCommit& commit);
  // A step that is about to be made. Changes nothing when it is there already.
  Status PlanKeyEvent(const KeyEvent& event);
  // Whether such a step was planned and is not done.
  Result<bool> IsPlanned(const std::string& domain, const std::string& selector, const std::string& to);
  // Such steps of all domains.
  Result<std::vector<KeyEvent>> ListPlanned(const std::string& to);
  // It will not be made after all.
  Status ForgetPlanned(const std::string& domain, const std::string& selector);
  // Newest first, with smaller ids than `before` (0: all). Of all domains, or keys, where these are empty.
  Result<std::vector<KeyEvent>> ListKeyEvents(const std::string& domain, const std::string& selector,
                                              std::int64_t before, std::int64_t most);
  // How many others use this pair: keys of other domains that are not DESTROYED, plans, and the ledger.
  Result<std::int64_t> CountOthers(const snapshot::Key& key);

  // Client certificates that are let in no more, by fingerprint.
  Status InsertRevokedCertificate(const RevokedCertificate& certificate);
  Status DeleteRevokedCertificate(const std::string& fingerprint);
  // Newest first.
  Result<std::vector<RevokedCertificate>> ListRevokedCertificates();

  // Partners and relays: who may sign what. Empty until a first policy was put.
  Result<snapshot::Policy> GetPolicy();
  // All of it or nothing. kStateConflict when a partner is not in the state that `from`, which the edit was computed
  // from, has it in: the watcher suspends at any time, and that must not be undone by who did not see it.
  Status ChangePolicy(const snapshot::Policy& from, const snapshot::PolicyEdit& edit);
  // kStateConflict when the partner is no longer in state `from`.
  Status ChangePartnerState(const std::string& name, snapshot::PartnerState from, snapshot::PartnerState to);
  Status SetRelayState(const std::string& name, snapshot::RelayState state);
  // The number of the newest change of the policy; of a partner's name: of the change in which it was last revoked. 0:
  // there was none since they are counted.
  Result<std::int64_t> GetPolicyChange(const std::string& partner);

  // The key that signs the ledger's checkpoints; nothing while there is none. It is recorded before its first
  // signature.
  struct LedgerKey {
    std::string token;
    Bytes cka_id;
    Bytes spki;
  };
  Result<std::optional<LedgerKey>> GetLedgerKey();
  Status InsertLedgerKey(const LedgerKey& key);
  // `key` signs from now on; the one before becomes a past one, that signed checkpoints of the log `origin`.
  Status ReplaceLedgerKey(const LedgerKey& key, const std::string& origin);
  struct PastLedgerKey {
    std::string origin;
    Bytes spki;
    friend bool operator==(const PastLedgerKey&, const PastLedgerKey&) = default;
  };
  // Those that signed before, the oldest first.
  Result<std::vector<PastLedgerKey>> ListPastLedgerKeys();

  // Operators, those who were removed too.
  Result<std::vector<OperatorRow>> ListOperators();
  Status InsertOperator(const OperatorRow& row);
  // Replaces the row of that name.
  Status UpdateOperator(const OperatorRow& row);

  // What waits for a second officer, and what became of it. Insert gives the id.
  Result<std::int64_t> InsertApproval(const ApprovalRow& row);
  // The one that waits and asks for the same: requester, certificate, method, request and danger.
  Result<std::optional<std::int64_t>> FindWaitingApproval(const ApprovalRow& row);
  struct WaitingApprovals {
    std::int64_t count, octets;  // octets of requests and dangers
  };
  Result<WaitingApprovals> CountWaitingApprovals(const std::string& requester);
  // Replaces state, decider, decided and outcome, and forgets the request; kStateConflict when the approval is no
  // longer in state `from`.
  Status UpdateApproval(const ApprovalRow& row, ApprovalState from);
  // Those that wait for the same as `row`, by method and danger, become kFailed with this outcome; `row` decided it.
  Status FailSameApprovals(const ApprovalRow& row, const std::string& outcome);
  Result<ApprovalRow> GetApproval(std::int64_t id);
  // The newest first, of all states or one; without their requests, and of a long danger the beginning.
  Result<std::vector<ApprovalRow>> ListApprovals(std::optional<ApprovalState> state, std::int64_t most);
  // Those that wait at `now` and should not any more become kExpired.
  Status ExpireApprovals(std::chrono::sys_seconds now);

  // Alerts. Insert puts it in and gives its id; `deliver`: it is to be sent to the webhook. At most kMostAlerts are
  // kept, the newest.
  static constexpr std::int64_t kMostAlerts = 10'000;
  Result<std::uint64_t> InsertAlert(const AlertRow& alert, bool deliver);
  // Newest first, with smaller ids than `before` (0: all).
  Result<std::vector<AlertRow>> ListAlerts(bool open_only, std::uint64_t before, std::int64_t most);
  // Changes nothing when it is acknowledged already.
  Result<AlertRow> AcknowledgeAlert(std::uint64_t id, const std::string& by, std::chrono::sys_seconds now);
  // Oldest first, some hundred at once: those that are not on the ledger yet; those with greater ids than `after` that
  // the webhook was not told of yet.
  Result<std::vector<AlertRow>> AlertsToJournal();
  Result<std::vector<AlertRow>> AlertsToDeliver(std::uint64_t after);
  Status MarkJournaled(std::uint64_t id);
  Status MarkDelivered(std::uint64_t id, bool delivered);  // false: given up

  // What the watcher has learnt, by its keys. One that is put and empty is taken out.
  Result<std::map<std::string, std::string>> GetWatchProfiles();
  Status PutWatchProfiles(const std::map<std::string, std::string>& profiles);

  // Everything the hot path needs, read in several steps: whoever changes something builds one afterwards. Keys that
  // are the same in `previous` (may be null) are shared with it, so that what was parsed stays parsed.
  Result<std::shared_ptr<snapshot::Snapshot>> BuildSnapshot(const snapshot::Snapshot* previous);

 private:
  Result<std::vector<snapshot::Key>> ListActiveKeys();
  explicit Store(Database database) : database_(std::move(database)) {}
  Status Migrate();
  std::mutex mutex_;  // guards database_: one statement at a time
  Database database_;
};

}  // namespace hallmark::store
