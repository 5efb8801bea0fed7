#pragma once

#include "firmware/runtime/result.h"

namespace hallmark {

// Makes TLS 1.3 the lowest version of every TLS connection of this process, whichever library opens it: gRPC 1.51 has
// no option of its own for this. OpenSSL then stays usable until the process has ended, also for threads that exit()
// leaves running. Call first thing in main(), before any other use of OpenSSL.
Status RequireTls13();

}  // namespace hallmark
