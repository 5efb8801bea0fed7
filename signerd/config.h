#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/backup/state_backup.h"
#include "signerd/dns/settings.h"
#include "signerd/health/settings.h"
#include "signerd/initial_domains.h"
#include "signerd/ledger/ledger.h"
#include "signerd/ledger/recipients.h"
#include "signerd/operators/operators.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/listener.h"
#include "signerd/tokens/token_config.h"
#include "signerd/watch/settings.h"

namespace hallmark {

// hallmark.toml, checked. docs/operations.md lists every key.
struct SignerdConfig {
  service::ListenerConfig signing, admin;
  std::int64_t message_octets = 64 << 20;
  operators::Operators::Options operators;
  std::chrono::hours approval_length{24};
  std::filesystem::path state_directory;
  std::filesystem::path initial_policy;  // for the first start; may be empty, and need not exist later
  std::vector<InitialDomain> initial_domains;
  std::optional<store::RotationPolicy> initial_rotation;
  std::string log_level = "info";
  pipeline::PipelineConfig pipeline;
  std::string metrics_listen;  // loopback; empty: no metrics are served
  watch::Settings watch;
  watch::WebhookSettings webhook;
  ledger::LedgerConfig ledger;
  std::string checkpoint_token;  // where the key that signs the ledger's checkpoints is made
  std::int64_t keep_days = 0;    // of the ledger's records, where no operator has set it; 0: for ever
  ledger::Recipients::Mode recipients = ledger::Recipients::Mode::kHashed;
  dns::Settings dns;
  backup::BackupSettings backup;
  health::Settings health;
  std::vector<tokens::TokenConfig> tokens;  // at least one; the first is the default
};

// kConfigInvalid with a line for each mistake: "FILE:LINE: KEY: what is wrong; expected ...".
// `appliance`: as the appliance's own image wants it.
Result<SignerdConfig> LoadConfig(const std::filesystem::path& path, bool appliance);

}  // namespace hallmark
