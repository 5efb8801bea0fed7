#pragma once

#include <filesystem>
#include <string>

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/policy.pb.h"

namespace hallmark::policy {

// Reads policy.toml. kNotFound, kIoFailed; kConfigInvalid with a line for each mistake: "FILE:LINE: KEY: what is wrong;
// expected ...".
Result<hallmark::admin::v1::Policy> LoadPolicy(const std::filesystem::path& path);

// The policy as a policy.toml that reads the same. What is as by default is left out.
std::string PolicyText(const hallmark::admin::v1::Policy& policy);

}  // namespace hallmark::policy
