#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>

namespace hallmark::service {

// A streamed answer that one thread writes, message by message. It owns itself until gRPC is done with it.
template <class Response>
class StreamWriter final : public grpc::ServerWriteReactor<Response> {
 public:
  static StreamWriter* Make() {
    auto writer = std::make_shared<StreamWriter>();
    writer->self_ = writer;
    return writer.get();
  }

  // Waits until gRPC has taken it. False when nobody listens any more.
  bool Write(const Response& response) {
    {
      const std::lock_guard lock(mutex_);
      if (broken_) return false;
      writing_ = true;
    }
    this->StartWrite(&response);
    std::unique_lock lock(mutex_);
    written_.wait(lock, [this] { return !writing_; });
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
  std::shared_ptr<StreamWriter> self_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable written_;
  bool writing_ = false, broken_ = false;
};

}  // namespace hallmark::service
