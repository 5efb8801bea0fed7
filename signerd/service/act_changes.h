#pragma once

#include <string>
#include <vector>

#include "hallmark/ledger/v1/record.pb.h"

// What an act changes, sentences, in its records.
namespace hallmark::service {

// Of one record; it has the request beside them, and may not be larger than ledger::kMaxRecordOctets.
constexpr std::size_t kMostChanges = 512 << 10;

// Adds those from `next` on that there is room for, at least one; the first that is left. Any thread.
std::size_t AddChanges(const std::vector<std::string>& changes, std::size_t next, ledger::v1::AdminAct& act);
// All of them where there is room, else the first and how many more there are. Any thread.
void SetChanges(const std::vector<std::string>& changes, ledger::v1::AdminAct& act);

}  // namespace hallmark::service
