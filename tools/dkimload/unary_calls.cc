#include "tools/dkimload/calls.h"

namespace hallmark::load {
namespace {

// One call. Owns itself from Start() until it has ended.
class UnaryCall final : public Event {
 public:
  UnaryCall(const CallSetup& setup, const Ticket& ticket) : setup_(setup), ticket_(ticket) {}

  void Start(Stub& stub, const grpc::ByteBuffer& request) {
    context_.set_deadline(std::chrono::system_clock::now() + setup_.options.deadline());
    reader_ = stub.PrepareUnaryCall(&context_, setup_.requests.path, request, &setup_.queue);
    reader_->StartCall();
    reader_->Finish(&response_, &status_, static_cast<Event*>(this));
  }

  void Happened(bool /*ok*/) override {
    const std::unique_ptr<UnaryCall> self(this);
    setup_.done(ticket_, HowItEnded());
  }

 private:
  Ending HowItEnded() const {
    if (!status_.ok() || !setup_.options.check) return EndingOf(status_);
    const grpc::Slice answer = Flat(response_);
    return CheckAnswer(answer.begin(), answer.size());
  }

  const CallSetup& setup_;
  const Ticket ticket_;
  grpc::ClientContext context_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader_;
};

class UnaryCalls final : public Calls {
 public:
  explicit UnaryCalls(CallSetup setup) : setup_(std::move(setup)) {
    for (const grpc::Slice& slice : setup_.requests.slices) requests_.emplace_back(&slice, 1);
  }

  void Start(const Ticket& ticket) override {
    auto* call = new UnaryCall(setup_, ticket);
    call->Start(*setup_.stubs[ticket.number % setup_.stubs.size()], requests_[ticket.number % requests_.size()]);
  }

  // Every call has a deadline of its own, and leaves nothing behind.
  void GiveUp() override {}
  void Close() override {}
  bool Closed() const override { return true; }

 private:
  const CallSetup setup_;
  std::vector<grpc::ByteBuffer> requests_;
};

}  // namespace

std::unique_ptr<Calls> MakeUnaryCalls(CallSetup setup) { return std::make_unique<UnaryCalls>(std::move(setup)); }

}  // namespace hallmark::load
