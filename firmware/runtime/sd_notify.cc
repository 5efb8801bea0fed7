#include "firmware/runtime/sd_notify.h"

#include <systemd/sd-daemon.h>

namespace hallmark {

void NotifySystemd(const std::string& state) { ::sd_notify(0, state.c_str()); }

}  // namespace hallmark
