#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "signerd/ledger/ledger.h"
#include "signerd/pipeline/records.h"

namespace hallmark::pipeline {

// An answer to a request with a request_id, as the ledger has it.
struct PastAnswer {
  std::string relay, request_id;
  Fingerprint fingerprint;
  std::uint64_t first;  // its records
  std::uint32_t count;
  std::chrono::sys_seconds when;
};

// Goes through the answers since `since`, the oldest first; through the last `most` records only. Of an answer all
// records must be there, one after the other. kInvalidArgument, and what else a segment that cannot be read says.
Status RecallAnswers(const ledger::Ledger& ledger, std::chrono::sys_seconds since, std::uint64_t most,
                     const std::function<void(const PastAnswer&)>& take);

}  // namespace hallmark::pipeline
