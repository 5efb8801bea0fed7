#include "signerd/store/sqlite.h"

#include "firmware/runtime/log.h"

namespace hallmark::store {
namespace {

constexpr int kBusyTimeoutMs = 5000;

Error SqlError(sqlite3* handle, const std::string& doing) {
  const int code = sqlite3_extended_errcode(handle);
  if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY) {
    return MakeError(Reason::kAlreadyExists, "exists already");
  }
  return MakeError(Reason::kStorageFailed, "the database failed while " + doing + ": " + sqlite3_errmsg(handle));
}

}  // namespace

Statement& Statement::Bind(int index, std::string_view text) {
  const int code = sqlite3_bind_text64(handle_.get(), index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::Bind(int index, ByteView octets) {
  // SQLite takes a null pointer for NULL, and an empty span may have one.
  const int code = octets.empty()
                       ? sqlite3_bind_zeroblob(handle_.get(), index, 0)
                       : sqlite3_bind_blob64(handle_.get(), index, octets.data(), octets.size(), SQLITE_TRANSIENT);
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::Bind(int index, std::int64_t number) {
  const int code = sqlite3_bind_int64(handle_.get(), index, number);
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
  return *this;
}

Result<bool> Statement::Step() {
  sqlite3* const database = sqlite3_db_handle(handle_.get());
  if (bind_error_ != SQLITE_OK) {
    return MakeError(Reason::kStorageFailed, std::string("a value was not taken: ") + sqlite3_errstr(bind_error_));
  }
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  Error error = SqlError(database, "running a statement");
  sqlite3_reset(handle_.get());
  return error;
}

Status Statement::Run() {
  while (true) {
    const auto row = Step();
    if (!row) return row.error();
    if (!*row) break;
  }
  sqlite3_reset(handle_.get());
  return Ok();
}

void Statement::Reset() { sqlite3_reset(handle_.get()); }

std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  return text == nullptr ? std::string()
                         : std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column)));
}

Bytes Statement::Blob(int column) const {
  const auto* octets = static_cast<const std::uint8_t*>(sqlite3_column_blob(handle_.get(), column));
  return octets == nullptr ? Bytes() : Bytes(octets, octets + sqlite3_column_bytes(handle_.get(), column));
}

std::int64_t Statement::Integer(int column) const { return sqlite3_column_int64(handle_.get(), column); }

Result<Database> Database::Open(const std::filesystem::path& path, Durability durability) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) {
    return MakeError(Reason::kStorageFailed, path.string() + ": cannot open the database: " + sqlite3_errstr(code));
  }
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  const Status prepared = database.Execute(
      std::string("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA synchronous=") +
      (durability == Durability::kTruth ? "FULL" : "NORMAL"));
  if (!prepared) return prepared.error();
  return database;
}

Result<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr) != SQLITE_OK) {
    return SqlError(handle_.get(), "preparing a statement");
  }
  return Statement(raw);
}

Status Database::Execute(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return SqlError(handle_.get(), "executing statements");
  }
  return Ok();
}

Result<Transaction> Transaction::Begin(Database& database) {
  const Status begun = database.Execute("BEGIN IMMEDIATE");
  if (!begun) return begun.error();
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  const Status rolled_back = database_->Execute("ROLLBACK");
  if (!rolled_back) log::error("cannot roll back: {}", rolled_back.error().message);
}

Status Transaction::Commit() {
  const Status committed = database_->Execute("COMMIT");
  if (committed) database_ = nullptr;
  return committed;
}

}  // namespace hallmark::store
