#include "signerd/backup/names.h"

#include <gtest/gtest.h>

namespace hallmark::backup {
namespace {

TEST(BackupName, WhatABackupHas) {
  for (const char* name :
       {"backup.json", "hallmark.db", "config/hallmark.toml", "config/tls/server.pem", "config/etc/pki/..data/ca.pem",
        "ledger/checkpoints", "ledger/verifier-key", "ledger/recipient.key", "ledger/retention",
        "ledger/segments/00000000000000000042.seg", "ledger/segments/00000000000000000042.pruned"}) {
    EXPECT_TRUE(IsName(name)) << name;
  }
}

TEST(BackupName, NothingElseIsTaken) {
  for (const char* name : {"",
                           "/",
                           "/etc/passwd",
                           "../x",
                           "config",
                           "config/",
                           "config//x",
                           "config/../x",
                           "config/x/..",
                           "config/./x",
                           "config/x/",
                           "config/a\\b",
                           "ledger",
                           "ledger/",
                           "ledger/x",
                           "ledger/../hallmark.db",
                           "ledger/segments/",
                           "ledger/segments/1.seg",
                           "ledger/segments/0000000000000000004x.seg",
                           "ledger/segments/00000000000000000042.txt",
                           "ledger/segments/../00000000000000000042.seg",
                           "hallmark.db/x",
                           "restoring"}) {
    EXPECT_FALSE(IsName(name)) << name;
  }
  EXPECT_FALSE(IsName(std::string_view("config/a\0b", 10)));
}

}  // namespace
}  // namespace hallmark::backup
