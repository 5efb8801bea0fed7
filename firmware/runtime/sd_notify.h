#pragma once

#include <string>

namespace hallmark {

// Tells systemd, where it started this process ("READY=1", "STOPPING=1", "STATUS=..."). Does nothing elsewhere.
void NotifySystemd(const std::string& state);

}  // namespace hallmark
