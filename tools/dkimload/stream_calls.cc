#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>

#include "google/rpc/status.pb.h"
#include "hallmark/signing/v1/signing.pb.h"
#include "tools/dkimload/calls.h"

namespace hallmark::load {
namespace {

using signing::v1::SignStreamResponse;

// Of a SignStreamResponse.
struct StreamAnswer {
  std::uint64_t id = 0;
  Ending ending;
};

// Reads the outer fields only: the response itself is skipped unless it is to be checked.
std::optional<StreamAnswer> ParseAnswer(const grpc::Slice& octets, bool check) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream input(octets.begin(), static_cast<int>(octets.size()));
  StreamAnswer answer;
  while (const std::uint32_t tag = input.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) return std::nullopt;
    std::uint32_t size = 0;
    if (!input.ReadVarint32(&size)) return std::nullopt;
    const auto* at = reinterpret_cast<const char*>(octets.begin()) + input.CurrentPosition();
    if (!input.Skip(static_cast<int>(size))) return std::nullopt;
    switch (WireFormatLite::GetTagFieldNumber(tag)) {
      case SignStreamResponse::kRequestIdFieldNumber:
        if (std::from_chars(at, at + size, answer.id).ec != std::errc()) return std::nullopt;
        break;
      case SignStreamResponse::kResponseFieldNumber:
        if (check) answer.ending = CheckAnswer(at, size);
        break;
      case SignStreamResponse::kErrorFieldNumber: {
        google::rpc::Status error;
        if (!error.ParseFromArray(at, static_cast<int>(size))) return std::nullopt;
        answer.ending = {error.code(), ctl::FromDetails(error.code(), "", error.SerializeAsString()).reason};
        break;
      }
      default: break;
    }
  }
  return answer;
}

// One SignStream call after the other on one connection.
class Stream {
 public:
  Stream(const CallSetup& setup, Stub& stub) : setup_(setup), stub_(stub) {}

  void Start(const Ticket& ticket) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t id = ++last_id_;
    waiting_.emplace(id, ticket);
    to_write_.push_back(id);
    if (state_ == State::kIdle) {
      Open();
    } else {
      WriteNext();
    }
  }

  void GiveUp() {
    const std::lock_guard lock(mutex_);
    given_up_ = true;
    if (context_) context_->TryCancel();
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    WriteNext();
  }

  bool Closed() const {
    const std::lock_guard lock(mutex_);
    return state_ == State::kIdle;
  }

 private:
  enum class State { kIdle, kStarting, kOpen, kEnding };
  // Tells a member function what has happened.
  struct On final : Event {
    using Member = void (Stream::*)(bool ok);
    On(Stream* owner, Member member) : stream(owner), then(member) {}
    void Happened(bool ok) override { (stream->*then)(ok); }
    void* tag() { return static_cast<Event*>(this); }
    Stream* const stream;
    const Member then;
  };

  // With mutex_ held, as are the next two.
  void Open() {
    state_ = State::kStarting;
    context_ = std::make_unique<grpc::ClientContext>();
    call_ = stub_.PrepareCall(context_.get(), setup_.requests.path, &setup_.queue);
    ++pending_;
    call_->StartCall(on_started_.tag());
  }

  void WriteNext() {
    if (state_ != State::kOpen || writing_) return;
    if (to_write_.empty()) {
      if (!closing_ || half_closed_) return;
      half_closed_ = writing_ = true;
      ++pending_;
      call_->WritesDone(on_written_.tag());
      return;
    }
    const std::uint64_t id = to_write_.front();
    to_write_.pop_front();
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return WriteNext();  // a server that answers what it was not asked
    const std::size_t message = found->second.number % setup_.requests.slices.size();
    const grpc::Slice slices[] = {setup_.requests.slices[message], RequestIdAlone(std::to_string(id) + suffix_)};
    writing_ = true;
    ++pending_;
    call_->Write(grpc::ByteBuffer(slices, 2), on_written_.tag());
  }

  // The call is over once the last of its operations has come back; what waits then has failed with it.
  void EndIfLast(std::unique_lock<std::mutex>& lock) {
    if (--pending_ > 0) return;
    const auto failed = std::move(waiting_);
    const Ending ending = given_up_      ? Ending{grpc::StatusCode::DEADLINE_EXCEEDED, ""}
                          : status_.ok() ? Ending{grpc::StatusCode::UNAVAILABLE, "STREAM_ENDED"}
                                         : EndingOf(status_);
    waiting_.clear();
    to_write_.clear();
    call_.reset();
    context_.reset();
    writing_ = half_closed_ = false;
    state_ = State::kIdle;
    lock.unlock();
    for (const auto& [id, ticket] : failed) setup_.done(ticket, ending);
  }

  void Started(bool ok) {
    std::unique_lock lock(mutex_);
    if (ok) {
      state_ = State::kOpen;
      ++pending_;
      call_->Read(&answer_, on_read_.tag());
      WriteNext();
    } else {
      Finish();
    }
    EndIfLast(lock);
  }

  void Written(bool ok) {
    std::unique_lock lock(mutex_);
    // A write that fails means that the call has ended, which the reading end will see.
    writing_ = !ok;
    WriteNext();
    EndIfLast(lock);
  }

  void Read(bool ok) {
    std::unique_lock lock(mutex_);
    if (!ok) {
      Finish();
      EndIfLast(lock);
      return;
    }
    const grpc::Slice octets = Flat(answer_);
    answer_.Clear();
    call_->Read(&answer_, on_read_.tag());
    const auto answer = ParseAnswer(octets, setup_.options.check);
    const auto found = answer ? waiting_.find(answer->id) : waiting_.end();
    if (found == waiting_.end()) return;
    const Ticket ticket = found->second;
    waiting_.erase(found);
    lock.unlock();
    setup_.done(ticket, answer->ending);
  }

  void Finish() {
    state_ = State::kEnding;
    ++pending_;
    call_->Finish(&status_, on_finished_.tag());
  }

  void Finished(bool /*ok*/) {
    std::unique_lock lock(mutex_);
    EndIfLast(lock);
  }

  const CallSetup& setup_;
  Stub& stub_;
  On on_started_{this, &Stream::Started}, on_written_{this, &Stream::Written}, on_read_{this, &Stream::Read},
      on_finished_{this, &Stream::Finished};
  mutable std::mutex mutex_;  // guards what follows
  State state_ = State::kIdle;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> call_;
  int pending_ = 0;  // operations of the call that have not come back
  bool writing_ = false, half_closed_ = false, closing_ = false, given_up_ = false;
  // Tells request_ids from those of other streams and runs: one that is used again gets the answer that it had.
  const std::string suffix_ = "-" + std::to_string(std::random_device()()) + std::to_string(std::random_device()());
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, Ticket> waiting_;  // by request_id, sent or not
  std::deque<std::uint64_t> to_write_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
};

class StreamCalls final : public Calls {
 public:
  explicit StreamCalls(CallSetup setup) : setup_(std::move(setup)) {
    for (const auto& stub : setup_.stubs) streams_.push_back(std::make_unique<Stream>(setup_, *stub));
  }

  void Start(const Ticket& ticket) override { streams_[ticket.number % streams_.size()]->Start(ticket); }
  void GiveUp() override {
    for (const auto& stream : streams_) stream->GiveUp();
  }
  void Close() override {
    for (const auto& stream : streams_) stream->Close();
  }
  bool Closed() const override {
    return std::all_of(streams_.begin(), streams_.end(), [](const auto& stream) { return stream->Closed(); });
  }

 private:
  const CallSetup setup_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace

std::unique_ptr<Calls> MakeStreamCalls(CallSetup setup) { return std::make_unique<StreamCalls>(std::move(setup)); }

}  // namespace hallmark::load
