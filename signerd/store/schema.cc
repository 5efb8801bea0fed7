#include "signerd/store/store.h"

namespace hallmark::store {
namespace {

// Each entry brings the schema from the version of its index to the next. Entries are only ever added.
constexpr const char* kMigrations[] = {
    // Lists are kept as text with a line for each entry. Times are seconds since 1970, UTC.
    R"(
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
)",
    // Partners and relays. A limit or a time of 0 is none.
    R"(
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
)",
    // The key that signs the ledger's checkpoints: one row.
    R"(
CREATE TABLE ledger_key (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  token TEXT NOT NULL,
  cka_id BLOB NOT NULL,
  public_key BLOB NOT NULL
) STRICT;
)",
    R"(
CREATE TABLE revoked_certificate (
  fingerprint TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  revoked_by TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)",
    // Operators who were removed stay, so that the ledger's names mean one person for ever; `enrolled` is
    // when they first did, 0 for never.
    R"(
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
)",
    // What the watcher found and has learnt. journaled: it is on the ledger. delivery: 0 none, 1 to be sent, 2 sent,
    // 3 given up.
    R"(
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
)",
    // The life of keys. Times of 0 are none; `set_number` is the set of keys that rotate together, 0 for those made by
    // hand; an event with done 0 was planned and is not done.
    R"(
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
)",
};

}  // namespace

Status Store::Migrate() {
  auto statement = database_.Prepare("PRAGMA user_version");
  if (!statement) return statement.error();
  const auto row = statement->Step();
  if (!row) return row.error();
  const auto version = static_cast<std::size_t>(statement->Integer(0));
  if (version > std::size(kMigrations)) {
    return MakeError(Reason::kStorageFailed, "the state database was written by a newer Hallmark (schema " +
                                                 std::to_string(version) + "): install that version");
  }
  for (std::size_t i = version; i < std::size(kMigrations); ++i) {
    auto transaction = Transaction::Begin(database_);
    if (!transaction) return transaction.error();
    Status done = database_.Execute(kMigrations[i]);
    if (done) done = database_.Execute("PRAGMA user_version = " + std::to_string(i + 1));
    if (done) done = transaction->Commit();
    if (!done) return done;
  }
  return Ok();
}

}  // namespace hallmark::store
