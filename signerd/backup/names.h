#pragma once

#include <string>
#include <string_view>

// The names in a backup's archive: what signerd writes and dkimctl takes.
namespace hallmark::backup {

// The first one: JSON that says whose backup it is, and of each other file but the ledger's its SHA-256. The SHA-256 of
// this one is on the ledger (kManifestField of an act kMethod), so that what signs the ledger signs the whole backup.
constexpr char kManifest[] = "backup.json";
constexpr char kDatabase[] = "hallmark.db";
constexpr char kConfigFolder[] = "config/", kLedgerFolder[] = "ledger/";
constexpr char kMethod[] = "CreateBackup", kManifestField[] = "backup_json_sha256";
constexpr int kFormat = 1;

// Whether a file of an archive may have this name: one of a backup's, that names no place outside of it.
bool IsName(std::string_view name);

}  // namespace hallmark::backup
