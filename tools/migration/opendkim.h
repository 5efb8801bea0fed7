#pragma once

#include <string>

#include "tools/migration/plan.h"

namespace hallmark::migration {

// What opendkim.conf at `conf`, and the files that it names, come to in Hallmark. The profile is made so that a message
// has the same fields signed, in the same form, as OpenDKIM signs them. kInvalidArgument, with the line, where the
// configuration is none or OpenDKIM would refuse it; what has no counterpart is in the notes.
Result<Plan> PlanFromOpenDkim(const std::string& conf, const Files& files);

}  // namespace hallmark::migration
