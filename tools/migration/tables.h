#pragma once

#include "tools/migration/opendkim_files.h"
#include "tools/migration/plan.h"

namespace hallmark::migration {

// What "%" stands for in the path of a KeyTable's line: the line's own domain, as OpenDKIM has it (the author's only
// where that is "%" too), or always the author's, as rspamd does.
enum class PathDomain { kKeys, kAuthors };

// A SigningTable and a KeyTable, as OpenDKIM has them and rspamd too: which author gets which key, in the order in
// which they are looked at. `selector` is for keys that name none (rspamd). What can't be said as a rule is noted.
// kInvalidArgument where the tables do not fit together.
Result<std::vector<SigningRule>> RulesFromTables(const DataSet& signing, const DataSet& keys, PathDomain path_domain,
                                                 const std::string& selector, Notes& notes);

// opendkim.conf(5), SigningTable, where it has no patterns: the address first, then its domain, then the domains above
// it, the nearest first, then all. Domain with SubDomains is looked up in the same way.
bool IsLookedUpBefore(const SigningRule& a, const SigningRule& b);

}  // namespace hallmark::migration
