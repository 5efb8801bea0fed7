#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace hallmark::pipeline {

// First in, first out.
template <class T>
class Fifo {
 public:
  void Push(T item) { items_.push_back(std::move(item)); }
  T Pop() {
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }
  bool empty() const { return items_.empty(); }
  std::size_t size() const { return items_.size(); }

 private:
  std::deque<T> items_;
};

// One step of the way of a message. What is pushed is taken up by the pool in batches: as much as has queued, never
// waiting for more, so that an idle system adds no delay and a busy one makes full batches. The queue has no limit of
// its own: every job holds one of the intake's credits.
template <class T, class Queue = Fifo<T>>
class Stage {
 public:
  static constexpr std::size_t kMaxBatch = 64;

  // `run` is called on `pool`, by up to `runners` threads at once, and must not throw: a throw would stall the stage.
  Stage(boost::asio::thread_pool& pool, std::size_t runners, std::function<void(std::vector<T>)> run)
      : pool_(pool), runners_(runners), run_(std::move(run)) {}

  // What Queue::Push takes. Any thread.
  template <class... Item>
  void Push(Item&&... item) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.Push(std::forward<Item>(item)...);
      if (running_ == runners_) return;
      ++running_;
    }
    boost::asio::post(pool_, [this] { Run(); });
  }

  // The same, but where the whole stage is idle the caller runs the step for its item itself: that saves the hand-over
  // to another thread, which on an idle machine takes longer than the step. What queues meanwhile goes to the pool.
  template <class... Item>
  void PushOrRun(Item&&... item) {
    std::vector<T> batch;
    {
      const std::lock_guard lock(mutex_);
      waiting_.Push(std::forward<Item>(item)...);
      if (running_ == runners_) return;
      if (running_++ == 0) batch.push_back(waiting_.Pop());  // its own: nothing waits while nothing runs
    }
    if (!batch.empty()) {
      run_(std::move(batch));
      if (!HasMore()) return;
    }
    boost::asio::post(pool_, [this] { Run(); });
  }

  // What Queue::Ahead says.
  template <class... Item>
  double Ahead(const Item&... item) const {
    const std::lock_guard lock(mutex_);
    return waiting_.Ahead(item...);
  }

  std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return waiting_.size();
  }

 private:
  // After each batch it is another stage's turn on this thread: what was signed must not wait for all that comes in.
  void Run() noexcept {
    std::vector<T> batch = Take();
    if (!batch.empty()) run_(std::move(batch));
    if (HasMore()) boost::asio::post(pool_, [this] { Run(); });
  }

  std::vector<T> Take() {
    std::vector<T> batch;
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return batch;  // another runner has it
    // A fair share, so that the other runners find work too.
    const std::size_t share = std::clamp<std::size_t>(waiting_.size() / runners_, 1, kMaxBatch);
    for (std::size_t i = 0; i < share; ++i) batch.push_back(waiting_.Pop());
    return batch;
  }

  // False when nothing waits: then this runner has ended.
  bool HasMore() {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) --running_;
    return !waiting_.empty();
  }

  boost::asio::thread_pool& pool_;
  const std::size_t runners_;
  const std::function<void(std::vector<T>)> run_;
  mutable std::mutex mutex_;  // guards waiting_ and running_
  Queue waiting_;
  std::size_t running_ = 0;
};

}  // namespace hallmark::pipeline
