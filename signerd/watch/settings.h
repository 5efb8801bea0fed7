#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

namespace hallmark::watch {

// [watch] of the configuration.
struct Settings {
  std::chrono::seconds learning = std::chrono::days(7);  // in which only hard limits alert
  std::int64_t min_volume = 100;                         // messages a minute below which nothing is a surge
  std::chrono::seconds cool_down = std::chrono::hours(1);
  std::chrono::seconds dormant = std::chrono::days(30);
  std::chrono::seconds save_interval{60};  // not configured
};

// [watch.webhook].
struct WebhookSettings {
  std::string url;                    // empty: none
  std::filesystem::path secret_file;  // of the HMAC
  std::filesystem::path ca;           // PEM; empty: the system's
};

}  // namespace hallmark::watch
