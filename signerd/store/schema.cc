#include "firmware/runtime/log.h"
#include "signerd/store/store.h"

namespace hallmark::store {
namespace {

// Brings the schema from the version of its index to the next.
struct Migration {
  const char* sql;
  // Takes it back, for the version of Hallmark before, which does not know it: kept in the database. Null where there
  // is no way back. What only the newer version had is lost.
  const char* undo = nullptr;
};

// Entries are only ever added.
constexpr Migration kMigrations[] = {
    // Lists are kept as text with a line for each entry. Times are seconds since 1970, UTC.
    {R"(
CREATE TABLE profile (
  name TEXT PRIMARY KEY,
  header_canonicalization INTEGER NOT NULL,
  body_canonicalization INTEGER NOT NULL,
  signed_fields TEXT NOT NULL,
  oversigned_fields TEXT NOT NULL,
  excluded_fields TEXT NOT NULL,
  line_endings INTEGER NOT NULL,
  auid TEXT NOT NULL,
  expires_after INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  query_method INTEGER NOT NULL,
  copied_fields INTEGER NOT NULL,
  body_length INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE domain (
  name TEXT PRIMARY KEY,
  profile TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE key (
  domain TEXT NOT NULL REFERENCES domain(name),
  selector TEXT NOT NULL,
  token TEXT NOT NULL,
  cka_id BLOB NOT NULL,
  public_key BLOB NOT NULL,
  state INTEGER NOT NULL,
  created INTEGER NOT NULL,
  state_since INTEGER NOT NULL,
  PRIMARY KEY (domain, selector),
  UNIQUE (token, cka_id, domain)
) STRICT, WITHOUT ROWID;
)"},
    // Partners and relays. A limit or a time of 0 is none.
    {R"(
CREATE TABLE partner (
  name TEXT PRIMARY KEY,
  state INTEGER NOT NULL,
  author_domains TEXT NOT NULL,
  signing_domains TEXT NOT NULL,
  addresses TEXT NOT NULL,
  alignment INTEGER NOT NULL,
  forbid_bcc INTEGER NOT NULL,
  require_date INTEGER NOT NULL,
  require_message_id INTEGER NOT NULL,
  max_octets INTEGER NOT NULL,
  rate_per_second INTEGER NOT NULL,
  burst INTEGER NOT NULL,
  messages_per_day INTEGER NOT NULL,
  recipients_per_message INTEGER NOT NULL,
  recipients_per_day INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  weight INTEGER NOT NULL,
  suspend_on TEXT NOT NULL,
  hard_limit_per_minute INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE relay (
  name TEXT PRIMARY KEY,
  identity TEXT NOT NULL UNIQUE,
  partners TEXT NOT NULL,
  state INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)"},
    // The key that signs the ledger's checkpoints: one row.
    {R"(
CREATE TABLE ledger_key (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  token TEXT NOT NULL,
  cka_id BLOB NOT NULL,
  public_key BLOB NOT NULL
) STRICT;
)"},
    {R"(
CREATE TABLE revoked_certificate (
  fingerprint TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  revoked_by TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)"},
    // Operators who were removed stay, so that the ledger's names mean one person for ever; `enrolled` is
    // when they last did, 0 for never.
    {R"(
CREATE TABLE operator (
  name TEXT PRIMARY KEY,
  identity TEXT NOT NULL,
  role INTEGER NOT NULL,
  state INTEGER NOT NULL,
  secret BLOB NOT NULL,
  last_step INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  locked_until INTEGER NOT NULL,
  created INTEGER NOT NULL,
  enrolled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX operator_identity ON operator (identity) WHERE state <> 2;
CREATE TABLE approval (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  state INTEGER NOT NULL,
  requester TEXT NOT NULL,
  certificate BLOB NOT NULL,
  least INTEGER NOT NULL,
  method TEXT NOT NULL,
  request BLOB NOT NULL,
  shown TEXT NOT NULL,
  danger TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  decider TEXT NOT NULL,
  decided INTEGER NOT NULL,
  outcome TEXT NOT NULL
) STRICT;
CREATE INDEX approval_state ON approval (state);
)"},
    // What the watcher found and has learnt. journaled: it is on the ledger. delivery: 0 none, 1 to be sent, 2 sent,
    // 3 given up.
    {R"(
CREATE TABLE alert (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  partner TEXT NOT NULL,
  signing_domain TEXT NOT NULL,
  message TEXT NOT NULL,
  action TEXT NOT NULL,
  raised INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  acknowledged_by TEXT NOT NULL DEFAULT '',
  journaled INTEGER NOT NULL DEFAULT 0,
  delivery INTEGER NOT NULL
) STRICT;
CREATE TABLE watch_profile (
  key TEXT PRIMARY KEY,
  profile BLOB NOT NULL
) STRICT, WITHOUT ROWID;
)"},
    // The life of keys. Times of 0 are none; `set_number` is the set of keys that rotate together, 0 for those made by
    // hand; an event with done 0 was planned and is not done.
    {R"(
ALTER TABLE key ADD COLUMN record_state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN exposed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN set_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN fate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN visible_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN longest_ttl INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN negative_ttl INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN publisher TEXT NOT NULL DEFAULT '';
ALTER TABLE key ADD COLUMN published_name TEXT NOT NULL DEFAULT '';
CREATE TABLE planned_key (
  domain TEXT NOT NULL REFERENCES domain(name),
  selector TEXT NOT NULL,
  token TEXT NOT NULL,
  cka_id BLOB NOT NULL,
  algorithm INTEGER NOT NULL,
  bits INTEGER NOT NULL,
  set_number INTEGER NOT NULL,
  PRIMARY KEY (domain, selector)
) STRICT, WITHOUT ROWID;
CREATE TABLE rotation (
  domain TEXT PRIMARY KEY REFERENCES domain(name),
  paused INTEGER NOT NULL,
  pause_reason TEXT NOT NULL,
  wanted INTEGER NOT NULL,
  wanted_by TEXT NOT NULL,
  wanted_since INTEGER NOT NULL,
  emergency INTEGER NOT NULL,
  last_set INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rotation_policy (
  domain TEXT PRIMARY KEY,
  on_demand INTEGER NOT NULL,
  algorithms TEXT NOT NULL,
  lifetime INTEGER NOT NULL,
  propagation INTEGER NOT NULL,
  retire INTEGER NOT NULL,
  revoked INTEGER NOT NULL,
  trash INTEGER NOT NULL,
  record_ttl INTEGER NOT NULL,
  selector TEXT NOT NULL,
  publisher TEXT NOT NULL,
  delegation TEXT NOT NULL,
  token TEXT NOT NULL,
  backup_waiver TEXT NOT NULL,
  backup_waived_by TEXT NOT NULL,
  backup_waived INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE key_event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  domain TEXT NOT NULL,
  selector TEXT NOT NULL,
  axis TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  planned INTEGER NOT NULL,
  done INTEGER NOT NULL,
  by TEXT NOT NULL,
  note TEXT NOT NULL
) STRICT;
CREATE INDEX key_event_domain ON key_event (domain, id);
CREATE UNIQUE INDEX key_event_planned ON key_event (domain, selector, axis, to_state) WHERE done = 0;
)"},
    // From here on there is a way back: schema_step has the SQL that takes back the step to `version`. The other table
    // has the keys that signed the ledger's checkpoints before the present one, and as whom; the oldest first.
    {R"(
CREATE TABLE schema_step (
  version INTEGER PRIMARY KEY,
  undo TEXT NOT NULL
) STRICT;
CREATE TABLE past_ledger_key (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  origin TEXT NOT NULL,
  public_key BLOB NOT NULL
) STRICT;
)"},
    // How often the policy was changed, under the empty name, and in which change a partner was revoked: what was asked
    // for before is no word for after. It stays where the step is taken back, so that no number comes a second time.
    {R"(
CREATE TABLE IF NOT EXISTS policy_change (
  name TEXT PRIMARY KEY,
  number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)",
     ""},
};

constexpr std::size_t kSchema = std::size(kMigrations);

std::string SetVersion(std::size_t version) { return "PRAGMA user_version = " + std::to_string(version); }

Result<std::size_t> VersionOf(Database& database) {
  auto statement = database.Prepare("PRAGMA user_version");
  if (!statement) return statement.error();
  const auto row = statement->Step();
  if (!row) return row.error();
  return static_cast<std::size_t>(statement->Integer(0));
}

Status StepForward(Database& database, std::size_t from) {
  const Migration& migration = kMigrations[from];
  auto transaction = Transaction::Begin(database);
  if (!transaction) return transaction.error();
  Status done = database.Execute(migration.sql);
  if (done && migration.undo != nullptr) {
    auto kept = database.Prepare("INSERT INTO schema_step (version, undo) VALUES (?, ?)");
    done =
        kept ? kept->Bind(1, static_cast<std::int64_t>(from + 1)).Bind(2, migration.undo).Run() : Status(kept.error());
  }
  if (done) done = database.Execute(SetVersion(from + 1));
  return done ? transaction->Commit() : done;
}

// An update that did not do its work is followed by the version before, which finds the schema one step ahead. The way
// back is one step long: more would bring back a state that nobody tried.
Status StepBack(Database& database, std::size_t version) {
  const Error newer = MakeError(Reason::kStorageFailed, "the state database was written by a newer Hallmark (schema " +
                                                            std::to_string(version) + ", this one has " +
                                                            std::to_string(kSchema) + "): install that version");
  if (version != kSchema + 1) return newer;
  auto statement = database.Prepare("SELECT undo FROM schema_step WHERE version = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, static_cast<std::int64_t>(version)).Step();
  if (!row) return row.error();
  if (!*row) return newer;
  const std::string undo = statement->Text(0);
  statement->Reset();
  auto transaction = Transaction::Begin(database);
  if (!transaction) return transaction.error();
  Status done = database.Execute(undo + ";DELETE FROM schema_step WHERE version = " + std::to_string(version) + ";" +
                                 SetVersion(kSchema));
  if (done) done = transaction->Commit();
  if (!done) {
    return MakeError(done.error().reason,
                     newer.message + "; its step could not be taken back: " + done.error().message);
  }
  log::warn("store: the state database was one step ahead (schema {}); that step was taken back", version);
  return Ok();
}

}  // namespace

Status Store::Migrate() {
  const auto version = VersionOf(database_);
  if (!version) return version.error();
  if (*version > kSchema) return StepBack(database_, *version);
  for (std::size_t from = *version; from < kSchema; ++from) {
    const Status done = StepForward(database_, from);
    if (!done) return done;
  }
  return Ok();
}

}  // namespace hallmark::store
