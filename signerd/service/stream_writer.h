#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

namespace hallmark::service {

// A streamed answer that one thread writes, message by message. It owns itself until gRPC is done with it.
template <class Response>
class StreamWriter final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit StreamWriter(grpc::CallbackServerContext* context) : context_(context) {}
  static StreamWriter* Make(grpc::CallbackServerContext* context) {
    auto writer = std::make_shared<StreamWriter>(context);
    writer->self_ = writer;
    return writer.get();
  }

  // `may_go_on` is asked before each message; where it says no, that is as if nobody listened any more. Before the
  // first.
  void CheckEach(std::function<bool()> may_go_on) { may_go_on_ = std::move(may_go_on); }

  // Waits until gRPC has taken it, for a minute at most: a caller that does not read must not keep the thread. False
  // when nobody listens any more.
  bool Write(const Response& response) {
    const bool may = !may_go_on_ || may_go_on_();
    {
      const std::lock_guard lock(mutex_);
      broken_ = broken_ || !may;
      if (broken_) return false;
      writing_ = true;
    }
    this->StartWrite(&response);
    std::unique_lock lock(mutex_);
    const auto written = [this] { return !writing_; };
    if (!written_.wait_for(lock, kLongestWrite, written)) {
      broken_ = true;
      lock.unlock();
      context_->TryCancel();  // ends the write, which still uses `response`
      lock.lock();
      written_.wait(lock, written);
    }
    return !broken_;
  }
  bool broken() const {
    const std::lock_guard lock(mutex_);
    return broken_;
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    broken_ = broken_ || !ok;
    written_.notify_all();
  }
  void OnCancel() override {
    const std::lock_guard lock(mutex_);
    broken_ = true;
  }
  void OnDone() override { const auto last = std::move(self_); }

 private:
  static constexpr std::chrono::minutes kLongestWrite{1};
  grpc::CallbackServerContext* const context_;
  std::function<bool()> may_go_on_;
  std::shared_ptr<StreamWriter> self_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable written_;
  bool writing_ = false, broken_ = false;
};

}  // namespace hallmark::service
