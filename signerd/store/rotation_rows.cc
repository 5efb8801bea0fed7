#include "signerd/store/rotation_rows.h"

#include <charconv>

#include "signerd/store/rows.h"
#include "signerd/store/store.h"

namespace hallmark::store {
namespace {

constexpr char kSelectLife[] =
    "SELECT domain, selector, token, cka_id, public_key, state, created, state_since, record_state, exposed, "
    "set_number, fate, visible_since, longest_ttl, negative_ttl, publisher, published_name FROM key ";

std::int64_t Count(std::chrono::seconds time) { return time.count(); }
std::chrono::seconds ReadSeconds(const Statement& row, int column) { return std::chrono::seconds(row.Integer(column)); }

// "0 2048": the algorithm's number, and bits.
std::string KindText(const KeyKind& kind) {
  return std::to_string(static_cast<int>(kind.algorithm)) + " " + std::to_string(kind.bits);
}

Result<KeyKind> ReadKind(const std::string& text) {
  int algorithm = 0;
  unsigned bits = 0;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, algorithm);
  if (number.ec == std::errc() && number.ptr != end) {
    const auto size = std::from_chars(number.ptr + 1, end, bits);
    if (size.ec == std::errc() && size.ptr == end) return KeyKind{static_cast<dkim::Algorithm>(algorithm), bits};
  }
  return MakeError(Reason::kStorageFailed, "a rotation policy has the unknown algorithm \"" + text + "\"");
}

Result<RotationPolicy> ReadPolicy(const Statement& row) {
  RotationPolicy policy;
  policy.domain = row.Text(0);
  policy.on_demand = row.Integer(1) != 0;
  policy.algorithms.clear();
  for (const std::string& line : SplitLines(row.Text(2))) {
    const auto kind = ReadKind(line);
    if (!kind) return kind.error();
    policy.algorithms.push_back(*kind);
  }
  policy.lifetime = ReadSeconds(row, 3);
  policy.propagation = ReadSeconds(row, 4);
  policy.retire = ReadSeconds(row, 5);
  policy.revoked = ReadSeconds(row, 6);
  policy.trash = ReadSeconds(row, 7);
  policy.record_ttl = ReadSeconds(row, 8);
  policy.selector = row.Text(9);
  policy.publisher = row.Text(10);
  policy.delegation = row.Text(11);
  policy.token = row.Text(12);
  policy.backup_waiver = row.Text(13);
  policy.backup_waived_by = row.Text(14);
  policy.backup_waived = ReadTime(row, 15);
  return policy;
}

Result<KeyLife> ReadLife(const Statement& row) {
  auto key = ReadKey(row);
  if (!key) return key.error();
  KeyLife life;
  life.key = std::move(*key);
  life.set = row.Integer(10);
  life.fate = static_cast<Fate>(row.Integer(11));
  life.visible_since = ReadTime(row, 12);
  life.longest_ttl = ReadSeconds(row, 13);
  life.negative_ttl = ReadSeconds(row, 14);
  life.publisher = row.Text(15);
  life.published_name = row.Text(16);
  return life;
}

RotationRow ReadRotation(const Statement& row) {
  return {row.Integer(0) != 0, row.Text(1),   static_cast<Wanted>(row.Integer(2)), row.Text(3), ReadTime(row, 4),
          row.Integer(5) != 0, row.Integer(6)};
}

KeyEvent ReadEvent(const Statement& row) {
  return {row.Integer(0), row.Text(1),      row.Text(2),      row.Text(3), row.Text(4),
          row.Text(5),    ReadTime(row, 6), ReadTime(row, 7), row.Text(8), row.Text(9)};
}

Statement& BindEvent(Statement& statement, const KeyEvent& event) {
  return statement.Bind(1, event.domain)
      .Bind(2, event.selector)
      .Bind(3, event.axis)
      .Bind(4, event.from)
      .Bind(5, event.to)
      .Bind(6, WriteTime(event.planned))
      .Bind(7, WriteTime(event.done))
      .Bind(8, event.by)
      .Bind(9, event.note);
}

Status PutRotation(Database& database, const std::string& domain, const RotationRow& row) {
  auto statement = database.Prepare("INSERT OR REPLACE INTO rotation VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  return statement->Bind(1, domain)
      .Bind(2, std::int64_t{row.paused})
      .Bind(3, row.pause_reason)
      .Bind(4, static_cast<std::int64_t>(row.wanted))
      .Bind(5, row.wanted_by)
      .Bind(6, WriteTime(row.wanted_since))
      .Bind(7, std::int64_t{row.emergency})
      .Bind(8, row.last_set)
      .Run();
}

Status InsertPlanned(Database& database, const std::string& domain, const PlannedKey& planned) {
  auto statement = database.Prepare("INSERT INTO planned_key VALUES (?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  return statement->Bind(1, domain)
      .Bind(2, planned.selector)
      .Bind(3, planned.token)
      .Bind(4, ByteView(planned.cka_id))
      .Bind(5, static_cast<std::int64_t>(planned.kind.algorithm))
      .Bind(6, std::int64_t{planned.kind.bits})
      .Bind(7, planned.set)
      .Run();
}

Status DeletePlanned(Database& database, const std::string& domain, const std::string& selector) {
  auto statement = database.Prepare("DELETE FROM planned_key WHERE domain = ? AND selector = ?");
  if (!statement) return statement.error();
  return statement->Bind(1, domain).Bind(2, selector).Run();
}

Status InsertMade(Database& database, const KeyLife& life) {
  const Status done = DeletePlanned(database, life.key.domain, life.key.selector);
  if (!done) return done;
  auto statement = database.Prepare(
      "INSERT INTO key (domain, selector, token, cka_id, public_key, state, created, state_since, set_number) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  const Bytes spki = life.key.public_key->Spki();
  return statement->Bind(1, life.key.domain)
      .Bind(2, life.key.selector)
      .Bind(3, life.key.token)
      .Bind(4, ByteView(life.key.cka_id))
      .Bind(5, ByteView(spki))
      .Bind(6, WriteState(life.key.state))
      .Bind(7, WriteTime(life.key.created))
      .Bind(8, WriteTime(life.key.state_since))
      .Bind(9, life.set)
      .Run();
}

Status ChangeKey(Database& database, const RotationCommit::KeyChange& change) {
  const KeyLife& after = change.after;
  auto statement = database.Prepare(
      "UPDATE key SET state = ?4, state_since = ?5, record_state = ?6, fate = ?7, visible_since = ?8, "
      "longest_ttl = ?9, negative_ttl = ?10, publisher = ?11, published_name = ?12 WHERE domain = ?1 AND selector = ?2 "
      "AND state = ?3");
  if (!statement) return statement.error();
  const Status done = statement->Bind(1, after.key.domain)
                          .Bind(2, after.key.selector)
                          .Bind(3, WriteState(change.from))
                          .Bind(4, WriteState(after.key.state))
                          .Bind(5, WriteTime(after.key.state_since))
                          .Bind(6, static_cast<std::int64_t>(after.key.record))
                          .Bind(7, static_cast<std::int64_t>(after.fate))
                          .Bind(8, WriteTime(after.visible_since))
                          .Bind(9, Count(after.longest_ttl))
                          .Bind(10, Count(after.negative_ttl))
                          .Bind(11, after.publisher)
                          .Bind(12, after.published_name)
                          .Run();
  if (done && database.changes() != 1) {
    return MakeError(Reason::kStateConflict, "the key " + after.key.selector + " of " + after.key.domain +
                                                 " was changed meanwhile: look again");
  }
  return done;
}

// Where the step was planned, its row becomes the done one.
Status PutEvent(Database& database, const KeyEvent& event) {
  auto update = database.Prepare(
      "UPDATE key_event SET from_state = ?4, planned = min(planned, ?6), done = ?7, by = ?8, note = ?9 "
      "WHERE domain = ?1 AND selector = ?2 AND axis = ?3 AND to_state = ?5 AND done = 0");
  if (!update) return update.error();
  const Status updated = BindEvent(*update, event).Run();
  if (!updated || database.changes() == 1) return updated;
  auto insert = database.Prepare(
      "INSERT INTO key_event (domain, selector, axis, from_state, to_state, planned, done, by, note) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!insert) return insert.error();
  return BindEvent(*insert, event).Run();
}

}  // namespace

Result<std::optional<RotationPolicy>> Store::GetRotationPolicy(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT * FROM rotation_policy WHERE domain = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, domain).Step();
  if (!row) return row.error();
  if (!*row) return std::optional<RotationPolicy>();
  auto policy = ReadPolicy(*statement);
  if (!policy) return policy.error();
  return std::optional(std::move(*policy));
}

Status Store::PutRotationPolicy(const RotationPolicy& policy) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "INSERT OR REPLACE INTO rotation_policy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  std::vector<std::string> algorithms;
  for (const KeyKind& kind : policy.algorithms) algorithms.push_back(KindText(kind));
  return statement->Bind(1, policy.domain)
      .Bind(2, std::int64_t{policy.on_demand})
      .Bind(3, JoinLines(algorithms))
      .Bind(4, Count(policy.lifetime))
      .Bind(5, Count(policy.propagation))
      .Bind(6, Count(policy.retire))
      .Bind(7, Count(policy.revoked))
      .Bind(8, Count(policy.trash))
      .Bind(9, Count(policy.record_ttl))
      .Bind(10, policy.selector)
      .Bind(11, policy.publisher)
      .Bind(12, policy.delegation)
      .Bind(13, policy.token)
      .Bind(14, policy.backup_waiver)
      .Bind(15, policy.backup_waived_by)
      .Bind(16, WriteTime(policy.backup_waived))
      .Run();
}

Status Store::DeleteRotationPolicy(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("DELETE FROM rotation_policy WHERE domain = ?");
  if (!statement) return statement.error();
  return statement->Bind(1, domain).Run();
}

Result<std::vector<std::string>> Store::ListUrgentDomains() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT domain FROM rotation WHERE emergency <> 0 OR wanted = ?1 "
      "UNION SELECT domain FROM key WHERE fate = ?2 AND state = ?3 "
      // What is being revoked, and not because it has retired; where people put records by hand, they are told.
      "UNION SELECT domain FROM key WHERE state = ?4 AND record_state = ?5 AND publisher <> 'manual' AND "
      "(fate = ?2 OR EXISTS (SELECT 1 FROM key_event AS event WHERE event.domain = key.domain AND "
      "event.selector = key.selector AND axis = 'key' AND to_state = 'REVOKED' AND done <> 0 AND by <> 'policy'))");
  if (!statement) return statement.error();
  statement->Bind(1, static_cast<std::int64_t>(Wanted::kEmergency));
  statement->Bind(2, static_cast<std::int64_t>(Fate::kCompromised));
  statement->Bind(3, WriteState(snapshot::KeyState::kRetiring));
  statement->Bind(4, WriteState(snapshot::KeyState::kRevoked));
  statement->Bind(5, static_cast<std::int64_t>(snapshot::RecordState::kUnretentive));
  return Collect<std::string>(*statement, [](const Statement& row) -> Result<std::string> { return row.Text(0); });
}

Result<DomainLife> Store::GetDomainLife(const std::string& domain) {
  const std::lock_guard lock(mutex_);
  DomainLife life;
  life.domain = domain;
  auto exists = database_.Prepare("SELECT 1 FROM domain WHERE name = ?");
  if (!exists) return exists.error();
  const auto known = exists->Bind(1, domain).Step();
  if (!known) return known.error();
  if (!*known) return MakeError(Reason::kNotFound, "the domain " + domain + " does not exist");

  auto rotation = database_.Prepare(
      "SELECT paused, pause_reason, wanted, wanted_by, wanted_since, emergency, last_set "
      "FROM rotation WHERE domain = ?");
  if (!rotation) return rotation.error();
  const auto row = rotation->Bind(1, domain).Step();
  if (!row) return row.error();
  if (*row) life.rotation = ReadRotation(*rotation);

  auto keys = database_.Prepare(std::string(kSelectLife) +
                                "WHERE domain = ? AND state <> ? ORDER BY created, set_number, selector");
  if (!keys) return keys.error();
  keys->Bind(1, domain).Bind(2, WriteState(snapshot::KeyState::kDestroyed));
  auto lives = Collect<KeyLife>(*keys, &ReadLife);
  if (!lives) return lives.error();
  life.keys = std::move(*lives);

  auto planned = database_.Prepare(
      "SELECT selector, token, cka_id, algorithm, bits, set_number FROM planned_key WHERE domain = ? ORDER BY "
      "selector");
  if (!planned) return planned.error();
  planned->Bind(1, domain);
  auto plans = Collect<PlannedKey>(*planned, [](const Statement& plan) -> Result<PlannedKey> {
    return PlannedKey{plan.Text(0),
                      plan.Text(1),
                      plan.Blob(2),
                      {static_cast<dkim::Algorithm>(plan.Integer(3)), static_cast<unsigned>(plan.Integer(4))},
                      plan.Integer(5)};
  });
  if (!plans) return plans.error();
  life.planned = std::move(*plans);
  return life;
}

Result<KeyLife> Store::GetKeyLife(const std::string& domain, const std::string& selector) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectLife) + "WHERE domain = ? AND selector = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, domain).Bind(2, selector).Step();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "the domain " + domain + " has no key with selector " + selector);
  return ReadLife(*statement);
}

Status Store::CommitRotation(const RotationCommit& commit) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  Status done = Ok();
  if (commit.rotation) done = PutRotation(database_, commit.domain, *commit.rotation);
  for (const std::string& selector : commit.unplan) {
    if (done) done = DeletePlanned(database_, commit.domain, selector);
  }
  for (const PlannedKey& planned : commit.plan) {  // a selector may be planned anew
    if (done) done = InsertPlanned(database_, commit.domain, planned);
  }
  if (done && commit.made) done = InsertMade(database_, *commit.made);
  for (const auto& change : commit.keys) {
    if (done) done = ChangeKey(database_, change);
  }
  for (const KeyEvent& event : commit.events) {
    if (done) done = PutEvent(database_, event);
  }
  return done ? transaction->Commit() : done;
}

Status Store::PlanKeyEvent(const KeyEvent& event) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "INSERT OR IGNORE INTO key_event (domain, selector, axis, from_state, to_state, planned, done, by, note) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  return BindEvent(*statement, event).Run();
}

Result<bool> Store::IsPlanned(const std::string& domain, const std::string& selector, const std::string& to) {
  const std::lock_guard lock(mutex_);
  auto statement =
      database_.Prepare("SELECT 1 FROM key_event WHERE domain = ? AND selector = ? AND to_state = ? AND done = 0");
  if (!statement) return statement.error();
  return statement->Bind(1, domain).Bind(2, selector).Bind(3, to).Step();
}

Result<std::vector<KeyEvent>> Store::ListPlanned(const std::string& to) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT id, domain, selector, axis, from_state, to_state, planned, done, by, note FROM key_event "
      "WHERE to_state = ? AND done = 0 ORDER BY domain, selector");
  if (!statement) return statement.error();
  statement->Bind(1, to);
  return Collect<KeyEvent>(*statement, [](const Statement& row) -> Result<KeyEvent> { return ReadEvent(row); });
}

Status Store::ForgetPlanned(const std::string& domain, const std::string& selector) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("DELETE FROM key_event WHERE domain = ? AND selector = ? AND done = 0");
  if (!statement) return statement.error();
  return statement->Bind(1, domain).Bind(2, selector).Run();
}

Result<std::vector<KeyEvent>> Store::ListKeyEvents(const std::string& domain, const std::string& selector,
                                                   std::int64_t before, std::int64_t most) {
  const std::lock_guard lock(mutex_);
  std::string sql =
      "SELECT id, domain, selector, axis, from_state, to_state, planned, done, by, note FROM key_event WHERE ";
  sql += domain.empty() ? "?1 = ''" : "domain = ?1";  // by its index: the others' events may be millions
  sql += " AND (?2 = '' OR selector = ?2) AND (?3 = 0 OR id < ?3) ORDER BY id DESC LIMIT ?4";
  auto statement = database_.Prepare(sql);
  if (!statement) return statement.error();
  statement->Bind(1, domain).Bind(2, selector).Bind(3, before).Bind(4, most);
  return Collect<KeyEvent>(*statement, [](const Statement& row) -> Result<KeyEvent> { return ReadEvent(row); });
}

Result<std::int64_t> Store::CountOthers(const snapshot::Key& key) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT (SELECT count(*) FROM key WHERE token = ?1 AND cka_id = ?2 AND domain <> ?3 AND state <> ?4) + "
      "(SELECT count(*) FROM planned_key WHERE token = ?1 AND cka_id = ?2) + "
      "(SELECT count(*) FROM ledger_key WHERE token = ?1 AND cka_id = ?2)");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, key.token)
                       .Bind(2, ByteView(key.cka_id))
                       .Bind(3, key.domain)
                       .Bind(4, WriteState(snapshot::KeyState::kDestroyed))
                       .Step();
  if (!row) return row.error();
  return statement->Integer(0);
}

}  // namespace hallmark::store
