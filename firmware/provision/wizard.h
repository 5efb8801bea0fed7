#pragma once

#include <string>

#include "firmware/provision/console.h"
#include "firmware/runtime/result.h"

namespace hallmark::provision {

// Asks at the console for what a box needs at least, and gives it as a packed configuration; nobody signs it.
// kCancelled when the person types "cancel", or the terminal goes.
Result<std::string> AskAtConsole(Console& console);

}  // namespace hallmark::provision
