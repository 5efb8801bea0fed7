#include "signerd/store/rows.h"
#include "signerd/store/store.h"

namespace hallmark::store {
namespace {

constexpr char kSelectAlert[] =
    "SELECT id, kind, partner, signing_domain, message, action, raised, acknowledged, acknowledged_by FROM alert ";
constexpr std::int64_t kToDeliver = 1, kDelivered = 2, kGivenUp = 3;
constexpr int kMostAtOnce = 100;

Result<AlertRow> ReadAlert(const Statement& row) {
  return AlertRow{static_cast<std::uint64_t>(row.Integer(0)),
                  row.Text(1),
                  row.Text(2),
                  row.Text(3),
                  row.Text(4),
                  row.Text(5),
                  ReadTime(row, 6),
                  ReadTime(row, 7),
                  row.Text(8)};
}

// The oldest of those that `where` names, with greater ids than `after`.
Result<std::vector<AlertRow>> Select(Database& database, const std::string& where, std::uint64_t after) {
  auto statement = database.Prepare(kSelectAlert + ("WHERE " + where) + " AND id > ? ORDER BY id LIMIT " +
                                    std::to_string(kMostAtOnce));
  if (!statement) return statement.error();
  statement->Bind(1, static_cast<std::int64_t>(after));
  return Collect<AlertRow>(*statement, ReadAlert);
}

Status Set(Database& database, const std::string& what, std::uint64_t id, std::int64_t value) {
  auto statement = database.Prepare("UPDATE alert SET " + what + " = ? WHERE id = ?");
  if (!statement) return statement.error();
  return statement->Bind(1, value).Bind(2, static_cast<std::int64_t>(id)).Run();
}

}  // namespace

Result<std::uint64_t> Store::InsertAlert(const AlertRow& alert, bool deliver) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  auto insert = database_.Prepare(
      "INSERT INTO alert (kind, partner, signing_domain, message, action, raised, delivery) VALUES (?, ?, ?, ?, ?, ?, "
      "?) RETURNING id");
  if (!insert) return insert.error();
  insert->Bind(1, alert.kind)
      .Bind(2, alert.partner)
      .Bind(3, alert.signing_domain)
      .Bind(4, alert.message)
      .Bind(5, alert.action)
      .Bind(6, WriteTime(alert.raised))
      .Bind(7, deliver ? kToDeliver : 0);
  const auto row = insert->Step();
  if (!row) return row.error();
  const std::int64_t id = insert->Integer(0);
  Status done = insert->Run();
  if (!done) return done.error();
  auto bound = database_.Prepare("DELETE FROM alert WHERE id <= ?");
  if (!bound) return bound.error();
  done = bound->Bind(1, id - kMostAlerts).Run();
  if (done) done = transaction->Commit();
  if (!done) return done.error();
  return static_cast<std::uint64_t>(id);
}

Result<std::vector<AlertRow>> Store::ListAlerts(bool open_only, std::uint64_t before, std::int64_t most) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectAlert) +
                                     "WHERE (?1 = 0 OR id < ?1) AND (?2 = 0 OR acknowledged = 0) ORDER BY id DESC "
                                     "LIMIT ?3");
  if (!statement) return statement.error();
  statement->Bind(1, static_cast<std::int64_t>(before)).Bind(2, std::int64_t{open_only}).Bind(3, most);
  return Collect<AlertRow>(*statement, ReadAlert);
}

Result<AlertRow> Store::AcknowledgeAlert(std::uint64_t id, const std::string& by, std::chrono::sys_seconds now) {
  const std::lock_guard lock(mutex_);
  auto update =
      database_.Prepare("UPDATE alert SET acknowledged = ?2, acknowledged_by = ?3 WHERE id = ?1 AND acknowledged = 0");
  if (!update) return update.error();
  const Status done = update->Bind(1, static_cast<std::int64_t>(id)).Bind(2, WriteTime(now)).Bind(3, by).Run();
  if (!done) return done.error();
  auto select = database_.Prepare(std::string(kSelectAlert) + "WHERE id = ?");
  if (!select) return select.error();
  const auto row = select->Bind(1, static_cast<std::int64_t>(id)).Step();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "the alert " + std::to_string(id) + " does not exist");
  return ReadAlert(*select);
}

Result<std::vector<AlertRow>> Store::AlertsToJournal() {
  const std::lock_guard lock(mutex_);
  return Select(database_, "journaled = 0", 0);
}

Result<std::vector<AlertRow>> Store::AlertsToDeliver(std::uint64_t after) {
  const std::lock_guard lock(mutex_);
  return Select(database_, "delivery = 1", after);
}

Status Store::MarkJournaled(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  return Set(database_, "journaled", id, 1);
}

Status Store::MarkDelivered(std::uint64_t id, bool delivered) {
  const std::lock_guard lock(mutex_);
  return Set(database_, "delivery", id, delivered ? kDelivered : kGivenUp);
}

Result<std::map<std::string, std::string>> Store::GetWatchProfiles() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT key, profile FROM watch_profile");
  if (!statement) return statement.error();
  std::map<std::string, std::string> profiles;
  while (true) {
    const auto more = statement->Step();
    if (!more) return more.error();
    if (!*more) return profiles;
    const Bytes octets = statement->Blob(1);
    profiles.emplace(statement->Text(0), std::string(AsText(octets)));
  }
}

Status Store::PutWatchProfiles(const std::map<std::string, std::string>& profiles) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  auto put = database_.Prepare("INSERT OR REPLACE INTO watch_profile (key, profile) VALUES (?, ?)");
  if (!put) return put.error();
  auto remove = database_.Prepare("DELETE FROM watch_profile WHERE key = ?");
  if (!remove) return remove.error();
  for (const auto& [key, profile] : profiles) {
    const Status done =
        profile.empty() ? remove->Bind(1, key).Run() : put->Bind(1, key).Bind(2, AsBytes(profile)).Run();
    if (!done) return done;
  }
  return transaction->Commit();
}

}  // namespace hallmark::store
