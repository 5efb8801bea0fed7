#pragma once

#include <string>

#include "tools/migration/plan.h"

namespace hallmark::migration {

// What rspamd's dkim_signing comes to in Hallmark. `path` is the folder of its configuration (/etc/rspamd), of which
// modules.d, local.d and override.d are read, or one dkim_signing.conf. The profile signs the fields that rspamd's dkim
// module signs. kInvalidArgument, with the line, where it is no configuration; what has no counterpart is in the notes.
Result<Plan> PlanFromRspamd(const std::string& path, const Files& files);

}  // namespace hallmark::migration
