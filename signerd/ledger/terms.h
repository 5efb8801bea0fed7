#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hallmark/ledger/v1/record.pb.h"

// What a record can be found by.
namespace hallmark::ledger {

// What to look for. An empty member does not count; the others must all fit.
struct Query {
  std::string partner;
  std::string domain;          // signing domain, an A-label
  std::string recipient;       // in clear
  std::string recipient_hash;  // and as this deployment hashes it, where it does; either may fit
  std::string message_id;      // with or without < and >
  std::string from;            // the author's address, in any case
  std::string kind;            // "signature", "admin_act" or "alert"
  std::int64_t since_us = INT64_MIN, until_us = INT64_MAX;  // [since, until)
};

// A field's value as 64 bits. Values may share them: a record is looked at before it is given as found.
using Term = std::uint64_t;

// The terms of a record, in no order.
void AppendTerms(const v1::Record& record, std::vector<Term>& terms);
// One list for each condition: a record that fits has at least one term of each list.
std::vector<std::vector<Term>> TermsOf(const Query& query);
bool Fits(const Query& query, const v1::Record& record);

// The domain of an address in lower case; its local part as it is.
std::string NormalizeAddress(std::string_view address);

}  // namespace hallmark::ledger
