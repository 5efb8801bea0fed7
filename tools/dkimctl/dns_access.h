#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "signerd/dns/resolver.h"
#include "tools/dkimctl/failure.h"
#include "tools/posture/lookup.h"

namespace hallmark::ctl {

// Who answers questions: the name server of --nameserver, or where that is empty those of /etc/resolv.conf.
Answer<std::shared_ptr<dns::Resolver>> OpenResolver(const std::string& nameserver);
// The same for the posture checks.
Answer<posture::Lookup> OpenLookup(const std::string& nameserver);

// Adds --nameserver.
CLI::Option* AddNameserver(CLI::App& command, std::string& nameserver);

}  // namespace hallmark::ctl
