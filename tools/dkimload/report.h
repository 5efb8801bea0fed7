#pragma once

#include <string>

#include "tools/dkimctl/client.h"
#include "tools/dkimload/load_run.h"

namespace hallmark::load {

// What a report says beside the results.
struct ReportContext {
  const Options& options;
  const Requests& requests;
  const ctl::Endpoint& endpoint;
};

// For people: lines of at most 80 characters.
std::string TableReport(const ReportContext& context, const Results& results);
// For programs: everything. Latencies are in microseconds; a process that has ended has null for what is not known.
std::string JsonReport(const ReportContext& context, const Results& results);

}  // namespace hallmark::load
