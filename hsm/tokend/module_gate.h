#pragma once

#include <condition_variable>
#include <mutex>

namespace hallmark::tokend {

// A shared mutex whose exclusive side is served first: whoever wants the module alone gets it as soon as the calls
// under way return, however many signatures wait. (std::shared_mutex lets readers that keep coming starve a writer.)
// Any thread; works with std::shared_lock and std::unique_lock. Not recursive.
class ModuleGate {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.wait(lock, [this] { return !alone_ && sharing_ == 0; });
    --waiting_;
    alone_ = true;
  }
  void unlock() {
    {
      const std::lock_guard lock(mutex_);
      alone_ = false;
    }
    changed_.notify_all();
  }
  void lock_shared() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !alone_ && waiting_ == 0; });
    ++sharing_;
  }
  void unlock_shared() {
    bool last = false;
    {
      const std::lock_guard lock(mutex_);
      last = --sharing_ == 0 && waiting_ > 0;
    }
    if (last) changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  unsigned waiting_ = 0;  // for the exclusive side
  unsigned sharing_ = 0;
  bool alone_ = false;
};

}  // namespace hallmark::tokend
