#pragma once

#include <chrono>
#include <filesystem>

namespace hallmark::health {

// [health] of hallmark.toml.
struct Settings {
  std::chrono::seconds test_interval{60};  // between two test signatures in a token; 0: none are made
  // What hallmark-health writes. Where the configuration does not name it, it need not be there.
  std::filesystem::path report = "/run/hallmark-health/report.json";
  bool report_expected = false;
  std::chrono::seconds alert_after{300};  // that something is wrong, before an alert is raised
  std::chrono::seconds drain{2};          // between NOT_SERVING and the last call that is taken
};

}  // namespace hallmark::health
