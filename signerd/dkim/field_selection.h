#pragma once

#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/header.h"
#include "signerd/dkim/types.h"

namespace hallmark::dkim {

// What is signed of one header.
struct FieldSelection {
  std::vector<std::string_view> names;  // h=, in order; views into the header or the profile
  std::vector<const Field*> fields;     // what the names stand for, in the same order, without those of absent fields
};

// Applies a profile to a header: repeated fields bottom-up, oversigned names once more than there are instances,
// excluded ones never, From always (RFC 6376 sections 5.4 and 5.4.2). kFromMissing; kHeaderTooLarge when h= would pass
// kMaxSignedNames.
Result<FieldSelection> SelectFields(const Header& header, const SigningProfile& profile);

// The fields that the names of an h= stand for: each takes the lowest instance not taken yet; those that find none are
// left out.
std::vector<const Field*> FieldsOf(const Header& header, const std::vector<std::string_view>& names);

}  // namespace hallmark::dkim
