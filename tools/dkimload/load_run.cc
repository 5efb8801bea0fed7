#include "tools/dkimload/load_run.h"

#include <grpcpp/alarm.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tools/dkimload/arrivals.h"
#include "tools/dkimload/progress.h"

namespace hallmark::load {
namespace {

// Time for the threads to be up before the first message is due.
constexpr std::chrono::milliseconds kStart(20);
// In a closed loop a failed message is followed by the next one this much later: refusals are quick, and a server that
// refuses everything would be asked as fast as both ends can.
constexpr std::chrono::milliseconds kAfterFailure(10);
constexpr std::chrono::milliseconds kPoll(5);
constexpr std::chrono::milliseconds kDraw(200);
// What is allowed for the answers to come in after the last deadline has passed.
constexpr std::chrono::seconds kGrace(2);

Clock::duration FromSeconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

Window MakeWindow(const Options& options, Clock::time_point start) {
  const Clock::time_point begin = start + FromSeconds(options.warmup_seconds);
  return {begin, begin + FromSeconds(options.duration_seconds)};
}

class Run {
 public:
  Run(const Options& options, const Requests& requests, const std::vector<std::unique_ptr<Stub>>& stubs, Kept* kept)
      : options_(options),
        start_(Clock::now() + kStart),
        window_(MakeWindow(options, start_)),
        results_(std::make_unique<Results>(window_)) {
    results_->window_seconds = options_.duration_seconds;
    CallSetup setup{
        options, requests, stubs, queue_, [this](const Ticket& ticket, const Ending& ending) { Ended(ticket, ending); },
        kept};
    calls_ = options.method == Method::kStream ? MakeStreamCalls(std::move(setup)) : MakeUnaryCalls(std::move(setup));
  }

  std::unique_ptr<Results> All() {
    active_ = options_.open_loop() ? 1 : static_cast<std::int64_t>(options_.in_flight);
    if (!options_.open_loop()) {
      std::this_thread::sleep_until(start_);
      for (std::size_t i = 0; i < options_.in_flight; ++i) StartNow();
    }
    std::thread driver([this] { Drive(); });
    std::thread sender([this] {
      if (options_.open_loop()) SendArrivals();
    });
    Measure();
    sender.join();
    Drain();
    queue_.Shutdown();
    driver.join();
    return std::move(results_);
  }

 private:
  // A message of a closed loop that waits after a failure. Owns itself until the time is up.
  class Pause final : public Event {
   public:
    explicit Pause(Run& run) : run_(run) {}
    static void Start(std::unique_ptr<Pause> owner) {
      Pause& pause = *owner;
      pause.self_ = std::move(owner);
      pause.alarm_.Set(&pause.run_.queue_, std::chrono::system_clock::now() + kAfterFailure,
                       static_cast<Event*>(&pause));
    }
    void Happened(bool /*ok*/) override {
      const std::unique_ptr<Pause> self = std::move(self_);
      run_.StartNextOrStop();
    }

   private:
    Run& run_;
    grpc::Alarm alarm_;
    std::unique_ptr<Pause> self_;
  };

  void Drive() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
  }

  void SendArrivals() {
    ::prctl(PR_SET_TIMERSLACK, 1);  // else Linux may wake this thread 50 us late
    Arrivals arrivals(options_.rate, options_.seed);
    for (Clock::time_point due = start_ + arrivals.Next(); due < window_.end; due = start_ + arrivals.Next()) {
      if (Clock::now() < due) std::this_thread::sleep_until(due);
      // What is as late as that would load a server that nobody measures any more.
      if (Clock::now() >= window_.end) {
        results_->unsent += window_.Holds(due) ? 1 : 0;
        continue;
      }
      active_.fetch_add(1);
      Start(due);
      if (!window_.Holds(due)) continue;
      results_->lag.Add(std::chrono::ceil<std::chrono::microseconds>(sent_at_ - due).count());
    }
    active_.fetch_sub(1);
  }

  // Of one thread at a time: the sender, or the driver.
  void Start(Clock::time_point intended) {
    if (window_.Holds(intended)) ++results_->started;
    sent_at_ = Clock::now();
    calls_->Start({next_++, intended});
  }
  void StartNow() { Start(Clock::now()); }

  void StartNextOrStop() {
    if (Clock::now() < window_.end) {
      StartNow();
    } else {
      active_.fetch_sub(1);
    }
  }

  void Ended(const Ticket& ticket, const Ending& ending) {
    results_->tally.Add(ticket, ending, Clock::now());
    if (options_.open_loop()) {
      active_.fetch_sub(1);
    } else if (ending.well()) {
      StartNextOrStop();
    } else {
      Pause::Start(std::make_unique<Pause>(*this));
    }
  }

  // Sleeps until the window opens and closes, and reads the processes' costs at both instants.
  void Measure() {
    std::vector<WatchedProcess> watched = {{"dkimload", ::getpid()}};
    watched.insert(watched.end(), options_.watched.begin(), options_.watched.end());
    Progress progress(options_.warmup_seconds + options_.duration_seconds);
    SleepUntil(window_.begin, progress);
    const auto begin = Clock::now();
    std::vector<std::optional<CpuTime>> before;
    for (const auto& process : watched) before.push_back(ReadCpuTime(process.pid));
    SleepUntil(window_.end, progress);
    results_->watched_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    for (std::size_t i = 0; i < watched.size(); ++i) {
      ProcessCost cost{watched[i], ReadCpuTime(watched[i].pid), ReadMemory(watched[i].pid)};
      if (cost.cpu && before[i]) {
        cost.cpu->user -= before[i]->user;
        cost.cpu->system -= before[i]->system;
      }
      results_->processes.push_back(std::move(cost));
    }
  }

  void SleepUntil(Clock::time_point until, Progress& progress) const {
    while (Clock::now() < until) {
      std::this_thread::sleep_until(std::min(until, Clock::now() + kDraw));
      progress.Draw(std::chrono::duration<double>(Clock::now() - start_).count(), results_->tally.ended_so_far(),
                    results_->tally.failed_so_far());
    }
  }

  void Drain() {
    const Clock::time_point give_up = Clock::now() + options_.deadline();
    while (active_ > 0 && Clock::now() < give_up) std::this_thread::sleep_for(kPoll);
    if (active_ > 0) calls_->GiveUp();
    while (active_ > 0) std::this_thread::sleep_for(kPoll);
    calls_->Close();
    const Clock::time_point cut = Clock::now() + kGrace;
    while (!calls_->Closed() && Clock::now() < cut) std::this_thread::sleep_for(kPoll);
    if (!calls_->Closed()) calls_->GiveUp();
    while (!calls_->Closed()) std::this_thread::sleep_for(kPoll);
  }

  const Options& options_;
  const Clock::time_point start_;
  const Window window_;
  std::unique_ptr<Results> results_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<Calls> calls_;
  // Messages under way or, in a closed loop, paused; and the sender while it runs. The queue lives as long as one does.
  std::atomic<std::int64_t> active_ = 0;
  std::size_t next_ = 0;
  Clock::time_point sent_at_;
};

}  // namespace

std::unique_ptr<Results> RunLoad(const Options& options, const Requests& requests,
                                 const std::vector<std::unique_ptr<Stub>>& stubs, Kept* kept) {
  return Run(options, requests, stubs, kept).All();
}

}  // namespace hallmark::load
