#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "firmware/runtime/file.h"

namespace hallmark::service {

// What an acceptor gave. Any thread.
class Taken {
 public:
  void Take(FileDescriptor connection) {
    const std::lock_guard lock(mutex_);
    connections_.push_back(std::move(connection));
    more_.notify_all();
  }
  // The next one; empty when there is none in time.
  FileDescriptor Next(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    if (!more_.wait_for(lock, most, [&] { return !connections_.empty(); })) return {};
    FileDescriptor next = std::move(connections_.front());
    connections_.pop_front();
    return next;
  }

 private:
  std::mutex mutex_;  // guards connections_
  std::condition_variable more_;
  std::deque<FileDescriptor> connections_;
};

}  // namespace hallmark::service
