#pragma once

#include "firmware/runtime/file.h"
#include "firmware/runtime/result.h"
#include "hsm/tokend/keeper.h"

namespace hallmark::tokend {

// Serves frames on `link` (a connected AF_UNIX stream socket) until it closes. Then the process ends within a second,
// even when a call of the module hangs: this function may not return. An error means that it could not begin.
Status Serve(const Keeper::Config& config, FileDescriptor link);

}  // namespace hallmark::tokend
