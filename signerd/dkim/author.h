#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/header.h"

namespace hallmark::dkim {

// Who a message says it is from.
struct Author {
  std::string address;  // addr-spec of the first mailbox, as written but without comments and folds
  std::string domain;   // the author domain: lower-case A-label
  // Addresses of the mailboxes after the first, in order; they have the same domain.
  std::vector<std::string> others = {};
};

// The author of a message, from its one From field (RFC 5322 section 3.6.2; groups, comments, quoted local parts,
// obsolete routes and RFC 6532 included). kFromMissing; kFromRepeated, since the choice between two would be the
// sender's; kFromUnusable: no mailbox, no domain, a domain literal, mailboxes of different domains, or syntax that mail
// readers disagree about.
Result<Author> FindAuthor(const Header& header);

// A domain name in lower case, with A-labels (RFC 5891); U-labels are converted, a final dot goes. kInvalidArgument
// when it is not made of letters, digits and hyphens, or is too long.
Result<std::string> NormalizeDomain(std::string_view name);

// Whether `selector` can be s= (RFC 6376 section 3.1): labels of lower-case letters, digits, hyphens and underscores.
Status ValidateSelector(std::string_view selector);

}  // namespace hallmark::dkim
