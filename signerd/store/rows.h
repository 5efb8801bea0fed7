#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "signerd/dkim/profile.h"
#include "signerd/dkim/types.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/store/sqlite.h"

// Between rows and types. Used within store only.
namespace hallmark::store {

inline constexpr char kSelectKey[] =
    "SELECT domain, selector, token, cka_id, public_key, state, created, state_since, record_state, exposed FROM key ";

inline std::int64_t WriteTime(std::chrono::sys_seconds time) { return time.time_since_epoch().count(); }
inline std::chrono::sys_seconds ReadTime(const Statement& row, int column) {
  return std::chrono::sys_seconds(std::chrono::seconds(row.Integer(column)));
}
inline std::int64_t WriteState(snapshot::KeyState state) { return static_cast<std::int64_t>(state); }

// Lists are kept as text with a line for each entry.
std::string JoinLines(const std::vector<std::string>& list);
std::vector<std::string> SplitLines(const std::string& text);

// Binds all thirteen columns, in the order of the table.
Statement& BindProfile(Statement& statement, const dkim::SigningProfile& profile);
dkim::SigningProfile ReadProfile(const Statement& row);

// A row of kSelectKey. kStorageFailed when its public key does not parse.
Result<snapshot::Key> ReadKey(const Statement& row);

template <class T, class Read>
Result<std::vector<T>> Collect(Statement& statement, Read read) {
  std::vector<T> rows;
  while (true) {
    const auto more = statement.Step();
    if (!more) return more.error();
    if (!*more) return rows;
    Result<T> row = read(statement);
    if (!row) return row.error();
    rows.push_back(std::move(*row));
  }
}

}  // namespace hallmark::store
