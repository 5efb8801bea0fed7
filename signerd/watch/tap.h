#pragma once

#include "signerd/pipeline/observer.h"
#include "signerd/watch/signing_metrics.h"
#include "signerd/watch/traffic.h"

namespace hallmark::watch {

// What the pipeline tells of its answers: counted for /metrics, and for the watcher to look at. Any thread.
struct Tap final : pipeline::Observer {
  SigningMetrics metrics;
  Traffic traffic;

  void OnAnswer(const pipeline::Answered& answered) noexcept override {
    if (answered.repeated) return;
    metrics.OnAnswer(answered);
    traffic.Add(answered);
  }
  void OnBatch(std::size_t messages) noexcept override { metrics.OnBatch(messages); }
};

}  // namespace hallmark::watch
