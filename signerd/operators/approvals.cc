#include "signerd/operators/approvals.h"

#include <algorithm>

#include "firmware/runtime/log.h"

namespace hallmark::operators {
namespace {

constexpr std::int64_t kMostShown = 1000;
// What waits of one requester: more is more than anybody looks through, and the store holds it.
constexpr std::int64_t kMostWaiting = 50;
constexpr std::int64_t kMostOctetsWaiting = 16 << 20;

const char* StateName(ApprovalState state) {
  switch (state) {
    case ApprovalState::kWaiting: return "waits";
    case ApprovalState::kApproved: return "is being carried out";
    case ApprovalState::kDone: return "was carried out already";
    case ApprovalState::kFailed: return "was approved already, and failed";
    case ApprovalState::kRejected: return "was rejected";
    case ApprovalState::kExpired: return "has expired";
  }
  return "is in no known state";
}

}  // namespace

Result<std::unique_ptr<Approvals>> Approvals::Open(store::Store& store, const Clock& clock,
                                                   std::chrono::seconds length) {
  std::unique_ptr<Approvals> approvals(new Approvals(store, clock, length));
  auto broken = store.ListApprovals(ApprovalState::kApproved, kMostShown);
  if (!broken) return broken.error();
  for (ApprovalRow& row : *broken) {
    row.state = ApprovalState::kFailed;
    row.outcome = "signerd ended while it was carried out: look whether it was done";
    const Status saved = store.UpdateApproval(row, ApprovalState::kApproved);
    if (!saved) return saved.error();
  }
  return approvals;
}

Result<std::int64_t> Approvals::Request(ApprovalRow row) {
  const std::lock_guard lock(requesting_);
  const auto now = clock_.Now();
  const Status expired = store_.ExpireApprovals(now);
  if (!expired) return expired.error();
  const auto same = store_.FindWaitingApproval(row);
  if (!same) return same.error();
  if (*same) return **same;
  const auto waiting = store_.CountWaitingApprovals(row.requester);
  if (!waiting) return waiting.error();
  if (waiting->count >= kMostWaiting ||
      waiting->octets + static_cast<std::int64_t>(row.request.size() + row.danger.size()) > kMostOctetsWaiting) {
    return MakeError(Reason::kOverloaded, "requests of " + row.requester +
                                              " wait for an approval, as many or as large as may be: have some of them "
                                              "decided first");
  }
  row.state = ApprovalState::kWaiting;
  row.created = now;
  row.expires = now + length_;
  return store_.InsertApproval(row);
}

Result<ApprovalRow> Approvals::Get(std::int64_t id) {
  const Status expired = store_.ExpireApprovals(clock_.Now());
  if (!expired) return expired.error();
  return store_.GetApproval(id);
}

Result<std::vector<ApprovalRow>> Approvals::List(bool all) {
  const Status expired = store_.ExpireApprovals(clock_.Now());
  if (!expired) return expired.error();
  return store_.ListApprovals(all ? std::nullopt : std::optional(ApprovalState::kWaiting), kMostShown);
}

Result<ApprovalRow> Approvals::GetWaiting(std::int64_t id) {
  auto row = Get(id);
  if (row && row->state != ApprovalState::kWaiting) {
    return MakeError(Reason::kStateConflict, "the approval " + std::to_string(id) + " " + StateName(row->state));
  }
  return row;
}

Status Approvals::Decide(ApprovalRow& row, ApprovalState to, const std::string& decider, const std::string& outcome) {
  const ApprovalState from = row.state;
  row.state = to;
  row.decider = decider;
  row.decided = clock_.Now();
  row.outcome = outcome;
  return store_.UpdateApproval(row, from);
}

// What was asked for twice is done once: when it is undone later, nobody has agreed to do it once more.
void Approvals::FailSame(const ApprovalRow& done) {
  const Status failed =
      store_.FailSameApprovals(done, std::string(ReasonName(Reason::kStateConflict)) +
                                         ": the same was carried out as approval " + std::to_string(done.id));
  if (!failed) log::error("approvals that ask for the same as {} still wait: {}", done.id, failed.error().message);
}

Result<ApprovalRow> Approvals::Approve(std::int64_t id, const Decider& decider,
                                       const std::function<Status(const ApprovalRow&)>& carry_out) {
  auto row = GetWaiting(id);
  if (!row) return row;
  if (row->requester == decider.name || row->certificate == decider.certificate) {
    return MakeError(Reason::kRoleNotAllowed, "nobody approves a request of their own: another officer has to");
  }
  // Approved first: after a crash it is not carried out a second time.
  Status saved = Decide(*row, ApprovalState::kApproved, decider.name, "");
  if (!saved) return saved.error();
  const Status done = carry_out(*row);
  saved = done ? Decide(*row, ApprovalState::kDone, decider.name, "")
               : Decide(*row, ApprovalState::kFailed, decider.name,
                        std::string(ReasonName(done.error().reason)) + ": " + done.error().message);
  if (!saved) return saved.error();
  if (done) FailSame(*row);
  return row;
}

Result<ApprovalRow> Approvals::Reject(std::int64_t id, const Decider& decider, const std::string& reason) {
  auto row = GetWaiting(id);
  if (!row) return row;
  const Status saved = Decide(*row, ApprovalState::kRejected, decider.name, reason);
  if (!saved) return saved.error();
  return row;
}

}  // namespace hallmark::operators
