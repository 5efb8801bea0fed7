#pragma once

#include <signal.h>

#include <array>

#include "firmware/runtime/result.h"

namespace hallmark::ctl {

// While it lives, SIGINT, SIGTERM and SIGHUP do not end the program at once: who works with secrets in files, or with a
// terminal in another mode, asks GoOn() between its steps and gives up, so that destructors put things right. When it
// goes, the program ends by the signal that came, as it would have before. So it is made first. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // kCancelled once a signal came. Any thread.
  Status GoOn() const;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace hallmark::ctl
