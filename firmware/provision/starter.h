#pragma once

#include <map>
#include <string>
#include <vector>

#include "firmware/provision/configuration.h"
#include "firmware/runtime/result.h"

// A configuration to begin with: what `hallmark-provision new` puts into a folder, and what the console asks for.
namespace hallmark::provision {

struct Answers {
  std::string host_name = "signer1.example.com";
  std::vector<std::string> certificate_names = {"DNS:signer1.example.com"};
  Network network;
  std::vector<std::string> domains = {"example.com"};
  std::vector<std::string> officers = {"uri:example:operator:alice", "uri:example:operator:bob"};
  std::string relay = "dns:relay1.example.com";
};

// box.toml, hallmark.toml and policy.toml; they name tls/relay-ca.pem and tls/admin-ca.pem, which are not made here.
std::map<std::string, std::string> StarterFiles(const Answers& answers);

}  // namespace hallmark::provision
