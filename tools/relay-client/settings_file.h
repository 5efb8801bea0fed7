#pragma once

#include "firmware/runtime/config.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

// Reads the table [signerd] of a program's configuration file. Mistakes are reported through the table, as
// everywhere; what its files hold is Client::Connect's to judge. Paths are taken relative to the file.
Settings ReadSettings(ConfigTable& signerd);

}  // namespace hallmark::relay
