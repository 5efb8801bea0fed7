#include "tools/dkimload/calls.h"
#include "tools/dkimload/kept.h"

namespace hallmark::load {
namespace {

// One call. Owns itself from Start() until it has ended.
class UnaryCall final : public Event {
 public:
  UnaryCall(const CallSetup& setup, const Ticket& ticket) : setup_(setup), ticket_(ticket) {}

  static void Start(std::unique_ptr<UnaryCall> owner, Stub& stub, const grpc::ByteBuffer& request) {
    UnaryCall& call = *owner;
    call.self_ = std::move(owner);
    call.context_.set_deadline(std::chrono::system_clock::now() + call.setup_.options.deadline());
    call.reader_ = stub.PrepareUnaryCall(&call.context_, call.setup_.requests.path, request, &call.setup_.queue);
    call.reader_->StartCall();
    call.reader_->Finish(&call.response_, &call.status_, static_cast<Event*>(&call));
  }

  void Happened(bool /*ok*/) override {
    const std::unique_ptr<UnaryCall> self = std::move(self_);
    const Ending ending = HowItEnded();
    if (setup_.kept != nullptr) {
      setup_.kept->Add(ticket_, ending, setup_.requests.slices[ticket_.number % setup_.requests.slices.size()],
                       ending.well() ? Flat(response_) : grpc::Slice());
    }
    setup_.done(ticket_, ending);
  }

 private:
  Ending HowItEnded() const {
    if (!status_.ok() || !setup_.options.check) return EndingOf(status_);
    const grpc::Slice answer = Flat(response_);
    return CheckAnswer(answer.begin(), answer.size());
  }

  const CallSetup& setup_;
  const Ticket ticket_;
  std::unique_ptr<UnaryCall> self_;
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
    auto call = std::make_unique<UnaryCall>(setup_, ticket);
    Stub& stub = *setup_.stubs[ticket.number % setup_.stubs.size()];
    const std::size_t message = ticket.number % requests_.size();
    if (setup_.kept == nullptr) return UnaryCall::Start(std::move(call), stub, requests_[message]);
    const grpc::Slice slices[] = {setup_.requests.slices[message],
                                  RequestIdAlone(setup_.kept->RequestId(ticket.number))};
    UnaryCall::Start(std::move(call), stub, grpc::ByteBuffer(slices, 2));
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
