#include "tools/dkimctl/stop_signals.h"

#include <atomic>

namespace hallmark::ctl {
namespace {

std::atomic<int> came{0};  // the only thing that a handler can reach; 0: none
static_assert(std::atomic<int>::is_always_lock_free);

void Note(int signal) { came = signal; }

}  // namespace

StopSignals::StopSignals() {
  struct sigaction note {};
  note.sa_handler = &Note;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_[i]);
    // nohup's is to stay so.
    if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &note, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  if (const int signal = came.exchange(0); signal != 0) ::raise(signal);
}

Status StopSignals::GoOn() const {
  return came == 0 ? Ok() : MakeError(Reason::kCancelled, "ended by a signal; what was begun is taken back");
}

}  // namespace hallmark::ctl
