#pragma once

#include <filesystem>
#include <string>

#include "tools/dkimctl/deployment.h"

// The text of the files that a trial set-up is configured by.
namespace hallmark::ctl {

std::string DaemonConfig(const DeploymentPlan& plan);      // hallmark.toml
std::string PolicyConfig();                                // policy.toml: relay1 may speak for "own", which may do all
std::string ClientConfigText(const DeploymentPlan& plan);  // dkimctl.toml
std::string MilterConfig(const DeploymentPlan& plan);      // milter.toml
// softhsm2.conf for a set-up that stands in `root`.
std::string SoftHsmConfig(const std::filesystem::path& root);

// "[::1]:8461" -> "::1"
std::string ListenAddress(const std::string& listen);
// Whether it is an IPv4 or IPv6 address that can be connected to: not a name, not 0.0.0.0 or ::.
bool IsAddress(const std::string& text);

}  // namespace hallmark::ctl
