#pragma once

#include <cstdint>
#include <string>

#include "hallmark/admin/v1/ledger.pb.h"
#include "tools/dkimctl/failure.h"

// Records of the ledger as text.
namespace hallmark::ctl {

// Columns for a person: number, time, what it is.
std::string RecordTable(const admin::v1::SearchRecordsResponse& page);
// RFC 4180, with a line of headings. A cell that a spreadsheet would take for a formula begins with an apostrophe.
std::string RecordCsvHeadings();
std::string RecordCsv(const admin::v1::LedgerRecord& record);
// All that a record says.
std::string RecordFacts(const admin::v1::LedgerRecord& record);

// A self-contained proof, JSON, as tools/ledger-verify --proof reads it.
std::string ProofFile(const admin::v1::InclusionProof& proof);

// "2026-01-31", "2026-01-31T12:00:00Z" (any RFC 3339 time), or how long ago: "90m", "36h", "7d". kUsage.
Answer<google::protobuf::Timestamp> TimeFrom(const std::string& text, std::int64_t now_seconds);

}  // namespace hallmark::ctl
