#include "tools/relay-client/call.h"

#include <algorithm>
#include <utility>

#include "tools/relay-client/answer.h"
#include "tools/relay-client/failure.h"

namespace hallmark::relay {
namespace {

using std::chrono::milliseconds;

// How long a message waits for a server to be ready before it is given back: a restart of signerd takes a few seconds.
constexpr milliseconds kPatience{3000};
constexpr milliseconds kLongestPoll{100};
// Where a server did not say when to come back.
constexpr milliseconds kRoundPause{200};

Failure CancelledFailure() {
  return {FailureKind::kUnavailable, "CANCELLED", "the client was told to end before a server answered", {}};
}

}  // namespace

// gRPC calls nobody back from within these, so that no call ends here.
void Calls::Cancel() {
  const std::lock_guard lock(mutex);
  cancelled = true;
  for (Call* call : under_way) {
    if (call->context_) call->context_->TryCancel();
    if (call->alarm_) call->alarm_->Cancel();
  }
}

Call::Call(Endpoints& endpoints, Calls& calls, milliseconds timeout, Done done)
    : endpoints_(endpoints), calls_(calls), deadline_(Clock::now() + timeout), done_(std::move(done)) {
  const std::lock_guard lock(calls_.mutex);
  calls_.under_way.insert(this);
}

Call::~Call() {
  const std::lock_guard lock(calls_.mutex);
  calls_.under_way.erase(this);
}

void Call::Start(Endpoints& endpoints, Calls& calls, milliseconds timeout, MessageReader::Content content,
                 MessageOptions options, Done done) {
  std::unique_ptr<Call> owner(new Call(endpoints, calls, timeout, std::move(done)));
  Call& call = *owner;
  call.self_ = std::move(owner);
  if (content.failure) {
    call.last_failure_ = std::move(content.failure);
    const std::lock_guard lock(calls.mutex);
    call.alarm_ = std::make_unique<grpc::Alarm>();
    call.alarm_->Set(std::chrono::system_clock::now(), [&call](bool) { call.Fail(*call.last_failure_); });
    return;
  }
  call.request_ = MakeRequest(std::move(content), std::move(options));
  call.Continue();
}

milliseconds Call::Remaining() const { return std::chrono::ceil<milliseconds>(deadline_ - Clock::now()); }

void Call::Continue() {
  if (Remaining() <= milliseconds::zero()) {
    FailAtLast();
    return;
  }
  set_ = endpoints_.Now();
  tried_.resize(set_->size());
  const std::size_t index = set_->Next(GRPC_CHANNEL_READY, tried_);
  if (index < set_->size()) {
    alone_since_.reset();
    Send(index);
  } else if (std::find(tried_.begin(), tried_.end(), true) == tried_.end()) {
    WaitForServer();
  } else if (one_servers_ && set_->AnotherMayCome(tried_) && IsPatient()) {
    Poll();
  } else if (const milliseconds pause = round_pause_.value_or(kRoundPause); one_servers_ || pause >= Remaining()) {
    FailAtLast();
  } else {
    tried_.assign(tried_.size(), false);
    round_pause_.reset();
    Pause(pause);
  }
}

bool Call::IsPatient() {
  const auto now = Clock::now();
  if (!alone_since_) alone_since_ = now;
  return now - *alone_since_ < kPatience;
}

void Call::Poll() {
  const milliseconds pause = std::min(poll_, Remaining());
  poll_ = std::min(2 * poll_, kLongestPoll);
  Pause(pause);  // comes last: the call may be over, and gone, when it returns
}

void Call::WaitForServer() {
  if (IsPatient()) {
    Poll();
    return;
  }
  // A call on a channel that failed ends at once, and says what is wrong there.
  last_chance_ = true;
  const std::size_t index = set_->Next(GRPC_CHANNEL_TRANSIENT_FAILURE, tried_);
  if (index < set_->size()) {
    Send(index);
  } else {
    Fail({FailureKind::kUnavailable, "UNREACHABLE", "signerd at " + (*set_)[0].server() + ": no connection", {}});
  }
}

void Call::Send(std::size_t index) {
  index_ = index;
  response_.Clear();
  // One that hangs must not cost a message the time that another one needs.
  has_all_time_ = !set_->HasAnother(index, tried_);
  {
    const std::lock_guard lock(calls_.mutex);
    context_ = std::make_unique<grpc::ClientContext>();
    if (calls_.cancelled) context_->TryCancel();
  }
  context_->set_deadline(std::chrono::system_clock::now() + (has_all_time_ ? Remaining() : Remaining() / 2));
  auto& stub = (*set_)[index].stub();
  const auto take = [this](const grpc::Status& status) { Take(status); };
  if (const auto* digest = std::get_if<signing::v1::SignDigestRequest>(&request_)) {
    stub.async()->SignDigest(context_.get(), digest, &response_, take);
  } else if (const auto* whole = std::get_if<signing::v1::SignRequest>(&request_)) {
    stub.async()->Sign(context_.get(), whole, &response_, take);
  } else {
    writer_ = std::make_unique<ChunkWriter>(std::get<LargeMessage>(request_), take);
    writer_->Start(stub, *context_, response_);
  }
}

void Call::Take(const grpc::Status& status) {
  if (status.ok()) {
    if (HasSignatures(response_)) {
      End(ToOutcome(std::move(response_)));
    } else {
      Fail({FailureKind::kUnavailable,
            "INTERNAL",
            "signerd at " + (*set_)[index_].server() + ": its answer has no signature that could be written",
            {}});
    }
    return;
  }
  if (IsCancelled()) {
    Fail(CancelledFailure());
    return;
  }
  Endpoint& endpoint = (*set_)[index_];
  Failure failure = ToFailure(status, endpoint.server());
  if (failure.reason == "TIMEOUT") endpoint.Rest();
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    if (last_chance_) {  // what a server said itself tells more than that it is gone since
      Fail(last_failure_.value_or(std::move(failure)));
      return;
    }
    if (failure.retry_after) round_pause_ = std::min(*failure.retry_after, round_pause_.value_or(*failure.retry_after));
    last_failure_ = std::move(failure);
    TryAnother();
  } else if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && !has_all_time_) {
    last_failure_ = std::move(failure);
    TryAnother();
  } else if (!one_servers_ && MayBeOneServers(failure)) {
    one_servers_ = std::move(failure);
    TryAnother();
  } else {
    last_failure_ = std::move(failure);
    FailAtLast();
  }
}

void Call::TryAnother() {
  tried_[index_] = true;
  Continue();
}

void Call::Pause(milliseconds pause) {
  const std::lock_guard lock(calls_.mutex);
  if (calls_.cancelled) pause = milliseconds::zero();
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(std::chrono::system_clock::now() + pause, [this](bool) {
    if (IsCancelled()) {
      Fail(CancelledFailure());
    } else {
      Continue();
    }
  });
}

bool Call::IsCancelled() {
  const std::lock_guard lock(calls_.mutex);
  return calls_.cancelled;
}

void Call::Fail(Failure failure) {
  Outcome outcome;
  outcome.failure = std::move(failure);
  End(std::move(outcome));
}

// Trouble of a signer's before a refusal by another one: when it is over, that signer may sign. So may one that was
// there until lately.
void Call::FailAtLast() {
  const bool refused = one_servers_ && one_servers_->kind != FailureKind::kUnavailable;
  if (!one_servers_ || (refused && last_failure_)) {
    Fail(last_failure_.value_or(Failure{FailureKind::kUnavailable, "TIMEOUT", "no server answered in time", {}}));
    return;
  }
  const std::size_t missed = refused ? set_->LeftLately(tried_) : set_->size();
  if (missed == set_->size()) {
    Fail(*one_servers_);
  } else {
    Fail({FailureKind::kUnavailable,
          "UNREACHABLE",
          "signerd at " + (*set_)[missed].server() + " is away for a short while; another one says " +
              one_servers_->reason + ": " + one_servers_->message,
          {}});
  }
}

void Call::End(Outcome outcome) {
  const Done done = std::move(done_);
  self_.reset();  // the end of this object: whoever waits for `done` may end the process
  done(std::move(outcome));
}

}  // namespace hallmark::relay
