#include "signerd/store/operator_rows.h"

#include "signerd/store/rows.h"
#include "signerd/store/store.h"

namespace hallmark::store {
namespace {

// Of a long text.
std::string Beginning(const std::string& column) {
  return "CASE WHEN length(" + column + ") > 2000 THEN substr(" + column + ", 1, 2000) || '...' ELSE " + column +
         " END";
}

// `request`, `danger`, `outcome`: the columns, or what stands for them.
std::string SelectApproval(const std::string& request, const std::string& danger, const std::string& outcome) {
  return "SELECT id, state, requester, certificate, least, method, " + request + ", shown, " + danger +
         ", created, expires, decider, decided, " + outcome + " FROM approval ";
}

OperatorRow ReadOperator(const Statement& row) {
  return {row.Text(0),
          row.Text(1),
          static_cast<Role>(row.Integer(2)),
          static_cast<OperatorState>(row.Integer(3)),
          row.Blob(4),
          row.Integer(5),
          row.Integer(6),
          ReadTime(row, 7),
          ReadTime(row, 8),
          ReadTime(row, 9)};
}

// All ten columns, in the order of the table.
Statement& BindOperator(Statement& statement, const OperatorRow& row) {
  return statement.Bind(1, row.name)
      .Bind(2, row.identity)
      .Bind(3, static_cast<std::int64_t>(row.role))
      .Bind(4, static_cast<std::int64_t>(row.state))
      .Bind(5, ByteView(row.secret))
      .Bind(6, row.last_step)
      .Bind(7, row.failures)
      .Bind(8, WriteTime(row.locked_until))
      .Bind(9, WriteTime(row.created))
      .Bind(10, WriteTime(row.enrolled));
}

ApprovalRow ReadApproval(const Statement& row) {
  return {row.Integer(0),
          static_cast<ApprovalState>(row.Integer(1)),
          row.Text(2),
          row.Blob(3),
          static_cast<Role>(row.Integer(4)),
          row.Text(5),
          row.Blob(6),
          row.Text(7),
          row.Text(8),
          ReadTime(row, 9),
          ReadTime(row, 10),
          row.Text(11),
          ReadTime(row, 12),
          row.Text(13)};
}

}  // namespace

Result<std::vector<OperatorRow>> Store::ListOperators() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT * FROM operator ORDER BY name");
  if (!statement) return statement.error();
  return Collect<OperatorRow>(*statement,
                              [](const Statement& row) -> Result<OperatorRow> { return ReadOperator(row); });
}

Status Store::InsertOperator(const OperatorRow& row) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("INSERT INTO operator VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  const Status done = BindOperator(*statement, row).Run();
  if (!done && done.error().reason == Reason::kAlreadyExists) {
    return MakeError(Reason::kAlreadyExists, "an operator " + row.name + " or with the identity " + row.identity +
                                                 " exists already, or the name was used before");
  }
  return done;
}

Status Store::UpdateOperator(const OperatorRow& row) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "UPDATE operator SET identity = ?2, role = ?3, state = ?4, secret = ?5, last_step = ?6, failures = ?7, "
      "locked_until = ?8, created = ?9, enrolled = ?10 WHERE name = ?1");
  if (!statement) return statement.error();
  const Status done = BindOperator(*statement, row).Run();
  if (done && database_.changes() != 1) {
    return MakeError(Reason::kNotFound, "the operator " + row.name + " does not exist");
  }
  return done;
}

Result<std::int64_t> Store::InsertApproval(const ApprovalRow& row) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "INSERT INTO approval (state, requester, certificate, least, method, request, shown, danger, created, expires, "
      "decider, decided, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, '') RETURNING id");
  if (!statement) return statement.error();
  statement->Bind(1, static_cast<std::int64_t>(row.state))
      .Bind(2, row.requester)
      .Bind(3, ByteView(row.certificate))
      .Bind(4, static_cast<std::int64_t>(row.least))
      .Bind(5, row.method)
      .Bind(6, ByteView(row.request))
      .Bind(7, row.shown)
      .Bind(8, row.danger)
      .Bind(9, WriteTime(row.created))
      .Bind(10, WriteTime(row.expires));
  const auto inserted = statement->Step();
  if (!inserted) return inserted.error();
  const std::int64_t id = statement->Integer(0);
  const Status done = statement->Run();  // an INSERT with RETURNING is complete when it was run to its end
  if (!done) return done.error();
  return id;
}

Result<std::optional<std::int64_t>> Store::FindWaitingApproval(const ApprovalRow& row) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT id FROM approval WHERE state = ? AND requester = ? AND certificate = ? AND method = ? AND request = ? "
      "AND danger = ?");
  if (!statement) return statement.error();
  const auto found = statement->Bind(1, static_cast<std::int64_t>(ApprovalState::kWaiting))
                         .Bind(2, row.requester)
                         .Bind(3, ByteView(row.certificate))
                         .Bind(4, row.method)
                         .Bind(5, ByteView(row.request))
                         .Bind(6, row.danger)
                         .Step();
  if (!found) return found.error();
  return *found ? std::optional(statement->Integer(0)) : std::nullopt;
}

Result<Store::WaitingApprovals> Store::CountWaitingApprovals(const std::string& requester) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT count(*), coalesce(sum(length(request) + length(CAST(danger AS BLOB))), 0) FROM approval "
      "WHERE state = ? AND requester = ?");
  if (!statement) return statement.error();
  const auto counted = statement->Bind(1, static_cast<std::int64_t>(ApprovalState::kWaiting)).Bind(2, requester).Step();
  if (!counted) return counted.error();
  return WaitingApprovals{statement->Integer(0), statement->Integer(1)};
}

Status Store::UpdateApproval(const ApprovalRow& row, ApprovalState from) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "UPDATE approval SET state = ?, decider = ?, decided = ?, outcome = ?, request = x'' WHERE id = ? AND state = ?");
  if (!statement) return statement.error();
  const Status done = statement->Bind(1, static_cast<std::int64_t>(row.state))
                          .Bind(2, row.decider)
                          .Bind(3, WriteTime(row.decided))
                          .Bind(4, row.outcome)
                          .Bind(5, row.id)
                          .Bind(6, static_cast<std::int64_t>(from))
                          .Run();
  if (done && database_.changes() != 1) {
    return MakeError(Reason::kStateConflict, "the approval was decided meanwhile: look again");
  }
  return done;
}

Status Store::FailSameApprovals(const ApprovalRow& row, const std::string& outcome) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "UPDATE approval SET state = ?, decider = ?, decided = ?, outcome = ?, request = x'' "
      "WHERE state = ? AND method = ? AND danger = ?");
  if (!statement) return statement.error();
  return statement->Bind(1, static_cast<std::int64_t>(ApprovalState::kFailed))
      .Bind(2, row.decider)
      .Bind(3, WriteTime(row.decided))
      .Bind(4, outcome)
      .Bind(5, static_cast<std::int64_t>(ApprovalState::kWaiting))
      .Bind(6, row.method)
      .Bind(7, row.danger)
      .Run();
}

Result<ApprovalRow> Store::GetApproval(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(SelectApproval("request", "danger", "outcome") + "WHERE id = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, id).Step();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "there is no approval " + std::to_string(id));
  return ReadApproval(*statement);
}

Result<std::vector<ApprovalRow>> Store::ListApprovals(std::optional<ApprovalState> state, std::int64_t most) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(SelectApproval("x''", Beginning("danger"), Beginning("outcome")) +
                                     "WHERE ?1 < 0 OR state = ?1 ORDER BY id DESC LIMIT ?2");
  if (!statement) return statement.error();
  statement->Bind(1, state ? static_cast<std::int64_t>(*state) : -1).Bind(2, most);
  return Collect<ApprovalRow>(*statement,
                              [](const Statement& row) -> Result<ApprovalRow> { return ReadApproval(row); });
}

Status Store::ExpireApprovals(std::chrono::sys_seconds now) {
  const std::lock_guard lock(mutex_);
  auto statement =
      database_.Prepare("UPDATE approval SET state = ?1, request = x'' WHERE state = ?2 AND expires <= ?3");
  if (!statement) return statement.error();
  return statement->Bind(1, static_cast<std::int64_t>(ApprovalState::kExpired))
      .Bind(2, static_cast<std::int64_t>(ApprovalState::kWaiting))
      .Bind(3, WriteTime(now))
      .Run();
}

}  // namespace hallmark::store
