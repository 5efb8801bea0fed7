#pragma once

#include "tools/migration/opendkim_files.h"
#include "tools/migration/plan.h"

namespace hallmark::migration {

// A SigningTable and a KeyTable, as OpenDKIM has them and rspamd too: which author gets which key, in the order in
// which they are looked at. `selector` is for keys that name none (rspamd). What can't be said as a rule is noted.
// kInvalidArgument where the tables do not fit together.
Result<std::vector<SigningRule>> RulesFromTables(const DataSet& signing, const DataSet& keys,
                                                 const std::string& selector, Notes& notes);

}  // namespace hallmark::migration
