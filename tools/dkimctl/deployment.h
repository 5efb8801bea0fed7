#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/dkimctl/failure.h"

namespace hallmark::ctl {

// A trial set-up: one box, one SoftHSM token, one relay, two officers.
struct DeploymentPlan {
  std::filesystem::path directory;  // absolute; does not exist, or is empty
  std::string signing_listen = "127.0.0.1:8461";
  std::string admin_listen = "127.0.0.1:8462";
  std::filesystem::path module;  // the PKCS#11 module
  std::string token_label = "hallmark";
  int sessions = 4;
};

struct Deployment {
  std::string token_serial;
  std::vector<std::string> files;  // below the folder
};

// "127.0.0.1:8461" -> the same; port 0 -> one that is free now. kUsage when it is not ADDRESS:PORT.
Answer<std::string> ResolveListen(const std::string& listen);

// The SoftHSM module of this machine; empty when there is none.
std::filesystem::path FindSoftHsm();

// Whether `plan` can be carried out, as far as that can be seen without doing it.
Answer<void> CheckPlan(const DeploymentPlan& plan);

// Makes the whole set-up in a folder of its own beside the one that is wanted, and moves it there when it is complete:
// after a failure nothing is left.
Answer<Deployment> MakeDeployment(const DeploymentPlan& plan);

}  // namespace hallmark::ctl
