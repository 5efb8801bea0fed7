#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/store/store.h"

namespace hallmark::operators {

using store::ApprovalRow;
using store::ApprovalState;

// Who decides an approval.
struct Decider {
  std::string name;
  Bytes certificate;  // its SHA-256
};

// Requests that need the word of a second person. Each change is persisted before it is answered, and is made only from
// the state that was seen. Any thread.
class Approvals {
 public:
  // Requests that were being carried out when the daemon ended are closed as failed: nobody knows how far they came.
  static Result<std::unique_ptr<Approvals>> Open(store::Store& store, const Clock& clock, std::chrono::seconds length);

  // Keeps a request of `row`'s requester; the id. The same request that waits already is not kept twice. kOverloaded
  // when too many of this requester wait, or too large ones: 50, and 16 MiB.
  Result<std::int64_t> Request(ApprovalRow row);
  Result<ApprovalRow> Get(std::int64_t id);
  // The newest first, at most 1,000; without their requests, and of a long danger or outcome the beginning.
  Result<std::vector<ApprovalRow>> List(bool all);

  // Has it carried out by `carry_out`; the row then says kDone or kFailed, and others that wait for the same thing fail
  // once it is done. kStateConflict when it does not wait, kRoleNotAllowed when the decider is the requester, by name
  // or by certificate.
  Result<ApprovalRow> Approve(std::int64_t id, const Decider& decider,
                              const std::function<Status(const ApprovalRow&)>& carry_out);
  Result<ApprovalRow> Reject(std::int64_t id, const Decider& decider, const std::string& reason);

 private:
  Approvals(store::Store& store, const Clock& clock, std::chrono::seconds length)
      : store_(store), clock_(clock), length_(length) {}
  Result<ApprovalRow> GetWaiting(std::int64_t id);
  Status Decide(ApprovalRow& row, ApprovalState to, const std::string& decider, const std::string& outcome);
  void FailSame(const ApprovalRow& done);
  store::Store& store_;
  const Clock& clock_;
  const std::chrono::seconds length_;
  std::mutex requesting_;  // held from the look what waits until one more does
};

}  // namespace hallmark::operators
