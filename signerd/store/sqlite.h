#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firmware/runtime/result.h"

// RAII over SQLite's C handles. A connection and its statements belong to one thread at a time.
namespace hallmark::store {

class Statement {
 public:
  Statement& Bind(int index, std::string_view text);
  Statement& Bind(int index, ByteView octets);
  Statement& Bind(int index, std::int64_t number);

  // True while there is a row; false at the end.
  Result<bool> Step();
  // Runs to the end and resets. kAlreadyExists where a unique constraint forbids it.
  Status Run();

  // Makes it ready to run again after a Step() that gave a row. What is bound stays bound.
  void Reset();

  std::string Text(int column) const;
  Bytes Blob(int column) const;
  std::int64_t Integer(int column) const;

 private:
  friend class Database;
  explicit Statement(sqlite3_stmt* handle) : handle_(handle, &sqlite3_finalize) {}
  std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> handle_;
  int bind_error_ = SQLITE_OK;
};

// kTruth: what was committed survives a power cut. kDerived: it may be lost then, but nothing is damaged.
enum class Durability { kTruth, kDerived };

class Database {
 public:
  // Opens or creates, in WAL mode.
  static Result<Database> Open(const std::filesystem::path& path, Durability durability = Durability::kTruth);

  Result<Statement> Prepare(std::string_view sql);
  // One or more statements without parameters.
  Status Execute(const std::string& sql);
  int changes() const { return sqlite3_changes(handle_.get()); }

 private:
  explicit Database(sqlite3* handle) : handle_(handle, &sqlite3_close) {}
  std::unique_ptr<sqlite3, decltype(&sqlite3_close)> handle_;
};

// Rolls back when it goes without Commit().
class Transaction {
 public:
  static Result<Transaction> Begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace hallmark::store
