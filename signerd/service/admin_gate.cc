#include "signerd/service/admin_gate.h"

#include <boost/asio/post.hpp>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/log.h"
#include "signerd/service/act_changes.h"
#include "signerd/service/cut_text.h"
#include "signerd/service/errors.h"

namespace hallmark::service {
namespace {

constexpr std::chrono::seconds kCountingTime{1};
// What a person is to judge. An error carries the beginning; all of it is with the approval.
constexpr std::size_t kMostDanger = 480 << 10, kMostDangerInAnError = 1000;
constexpr std::size_t kMostLogged = 1500;  // a message may repeat what was asked for, up to the whole request
constexpr char kSessionMetadata[] = "hallmark-session";
constexpr std::string_view kBegun = "BEGUN";

// Whether its refusals are counted, because anyone with a certificate can cause them as fast as they like.
bool IsCounted(Reason reason) {
  return reason == Reason::kCallerUnknown || reason == Reason::kCertificateRevoked ||
         reason == Reason::kLoginRequired || reason == Reason::kLoginRefused || reason == Reason::kLockedOut;
}

std::string_view OutcomeOf(const Status& done) { return done ? "OK" : ReasonName(done.error().reason); }

// Refusals that are counted are not logged one by one either: a storm of them must not become one of lines.
void Log(const Caller& caller, const Status& done) {
  if (!done && IsCounted(done.error().reason)) {
    log::debug("admin: {} by {} refused: {}", caller.act.method, caller.name, ReasonName(done.error().reason));
  } else if (done) {
    log::info("admin: {} by {}", caller.act.method, caller.name);
  } else {
    log::warn("admin: {} by {} failed: {}: {}", caller.act.method, caller.name, ReasonName(done.error().reason),
              CutText(done.error().message, kMostLogged));
  }
}

Status NotLedgered(const Status& begun) {
  return MakeError(Reason::kLedgerUnavailable,
                   "not carried out, because it cannot be put on the ledger: " + begun.error().message);
}

hallmark::ledger::v1::AdminAct ActOf(const Caller& caller, std::string_view outcome, std::uint64_t approval) {
  hallmark::ledger::v1::AdminAct act;
  act.set_operator_(caller.name);
  act.set_certificate(caller.certificate.data(), caller.certificate.size());
  act.set_method(caller.act.method);
  SetRequest(caller.shown, act);
  act.set_outcome(std::string(outcome));
  act.set_approval(approval);
  act.set_count(1);
  SetChanges(caller.changes, act);
  return act;
}

// What the store keeps of it is for a person, without a hash.
ShownRequest ShowApproved(const google::protobuf::Message& form, const std::string& octets) {
  const std::unique_ptr<google::protobuf::Message> request(form.New());
  return request->ParseFromString(octets) ? ShowRequest(*request) : ShownRequest();
}

}  // namespace

std::string SessionToken(const grpc::ServerContextBase& context) {
  const auto found = context.client_metadata().find(kSessionMetadata);
  return found == context.client_metadata().end() ? std::string()
                                                  : std::string(found->second.data(), found->second.size());
}

AdminGate::~AdminGate() {
  // What they refuse last is counted too.
  ThreadOf(Lane::kToken).join();
  ThreadOf(Lane::kRotation).join();
  boost::asio::post(ThreadOf(Lane::kStore), [this] {
    timer_.cancel();
    counted_.Flush([this](const auto& act) { return NoteAct(act); });
  });
  ThreadOf(Lane::kStore).join();
}

Result<operators::Peer> AdminGate::PeerOf(const grpc::ServerContextBase& context) {
  const auto facts = parts_.transport.Admit(*context.auth_context());
  if (!facts) return facts.error();
  auto fingerprint = HexDecode((*facts)->fingerprint);
  if (!fingerprint) return fingerprint.error();
  return operators::Peer{(*facts)->identities, std::move(*fingerprint)};
}

// From memory. A refusal is counted, not queued: a storm of them must not keep the admin thread from its work.
Result<Caller> AdminGate::Identify(const grpc::ServerContextBase& context, const Act& act,
                                   const google::protobuf::Message& request) {
  Caller caller;
  caller.act = act;
  const auto peer = PeerOf(context);
  if (!peer) {
    Count(caller, ReasonName(peer.error().reason), 0);
    return peer.error();
  }
  caller.certificate = peer->certificate;
  const auto row = parts_.operators.Authorize(*peer, SessionToken(context));
  if (!row) {
    if (const auto known = parts_.operators.Identify(*peer)) caller.name = known->name;
    Count(caller, ReasonName(row.error().reason), 0);
    return row.error();
  }
  caller.name = row->name;
  caller.role = row->role;
  // What this version does not know of is neither kept nor shown: nobody could judge it.
  const std::unique_ptr<google::protobuf::Message> known(request.New());
  known->CopyFrom(request);
  known->DiscardUnknownFields();
  caller.request = known->SerializeAsString();
  caller.shown = ShowRequest(request);
  return caller;
}

AdminGate::Reactor* AdminGate::Run(Context* context, const Act& act, const google::protobuf::Message& request,
                                   Work work) {
  Reactor* reactor = context->DefaultReactor();
  auto caller = Identify(*context, act, request);
  if (!caller) {
    reactor->Finish(ToGrpcStatus(caller.error(), Audience::kOperator));
    return reactor;
  }
  boost::asio::post(ThreadOf(act.lane), JobOf(reactor, context, std::move(*caller), std::move(work)));
  return reactor;
}

// The store says what is approved, so that gRPC's thread is not the one that asks.
AdminGate::Reactor* AdminGate::RunApproval(Context* context, const Act& act, const google::protobuf::Message& request,
                                           std::int64_t id, Work work) {
  Reactor* reactor = context->DefaultReactor();
  auto caller = Identify(*context, act, request);
  if (!caller) {
    reactor->Finish(ToGrpcStatus(caller.error(), Audience::kOperator));
    return reactor;
  }
  boost::asio::post(ThreadOf(Lane::kStore),
                    [this, id, job = JobOf(reactor, context, std::move(*caller), std::move(work))] {
                      boost::asio::dispatch(ThreadOf(LaneOfApproved(id)), job);
                    });
  return reactor;
}

Lane AdminGate::LaneOfApproved(std::int64_t id) {
  const auto approval = parts_.approvals.Get(id);
  const auto replayed = approval ? replays_.find(approval->method) : replays_.end();
  return replayed == replays_.end() ? Lane::kStore : replayed->second.lane;
}

std::function<void()> AdminGate::JobOf(Reactor* reactor, Context* context, Caller caller, Work work) {
  return [this, reactor, context, caller = std::move(caller), work = std::move(work)] {
    // While the call waited its turn the session may have ended, by a logout or because the operator was removed, and
    // the certificate may have been revoked.
    const Status still = CheckSession(*context, caller);
    const Status done = still ? RunLedgered(caller, work) : still;
    if (!still) Count(caller, ReasonName(still.error().reason), 0);
    Log(caller, done);
    reactor->Finish(done ? grpc::Status::OK : ToGrpcStatus(done.error(), Audience::kOperator));
  };
}

AdminGate::Reactor* AdminGate::RunWithoutSession(Context* context, const Act& act,
                                                 const google::protobuf::Message& request, const Check& check,
                                                 std::function<Status(const operators::Peer&)> work) {
  Reactor* reactor = context->DefaultReactor();
  Caller caller;
  caller.role = act.least;
  caller.act = act;
  auto peer = PeerOf(*context);
  Status may = peer ? Ok() : Status(peer.error());
  if (may) {
    caller.certificate = peer->certificate;
    if (const auto known = parts_.operators.Identify(*peer)) caller.name = known->name;
    may = check(*peer);
  }
  if (!may) {
    Count(caller, ReasonName(may.error().reason), 0);
    reactor->Finish(ToGrpcStatus(may.error(), Audience::kOperator));
    return reactor;
  }
  caller.shown = ShowRequest(request);
  boost::asio::post(ThreadOf(Lane::kStore), [this, reactor, context, peer = std::move(*peer),
                                             caller = std::move(caller), work = std::move(work)]() mutable {
    // A first officer has a name only once the work is done; the record of its outcome then says it.
    const Status done = RunLedgered(caller, [&](const Caller&) {
      // While it waited its turn the certificate may have been revoked.
      if (const auto still = PeerOf(*context); !still) return Status(still.error());
      Status worked = work(peer);
      if (const auto now = parts_.operators.Identify(peer)) caller.name = now->name;
      return worked;
    });
    Log(caller, done);
    reactor->Finish(done ? grpc::Status::OK : ToGrpcStatus(done.error(), Audience::kOperator));
  });
  return reactor;
}

Status AdminGate::CheckSession(const grpc::ServerContextBase& context, const Caller& caller) {
  const auto peer = PeerOf(context);
  return peer ? parts_.operators.HasSession(caller.name, caller.certificate, SessionToken(context))
              : Status(peer.error());
}

Status AdminGate::Admit(const grpc::ServerContextBase& context, const Caller& caller) {
  const Status still = CheckSession(context, caller);
  if (!still) {
    Count(caller, ReasonName(still.error().reason), 0);
    return still;
  }
  const Status begun = Begin(caller);
  if (!begun && begun.error().reason == Reason::kRoleNotAllowed) Done(caller, begun);
  return begun;
}

void AdminGate::Done(const Caller& caller, Status done) {
  boost::asio::post(ThreadOf(Lane::kStore), [this, caller, done = std::move(done)] {
    JournalOutcome(caller, done);
    Log(caller, done);
  });
}

// What changes something is put on the ledger twice: as BEGUN before it is carried out, and with its outcome after. So
// whatever happens in between, a crash among it, nothing was changed without a durable record of who wanted it; when
// the first record is refused the act is not carried out. When only the second is refused the act was done, and is
// answered as such: the record that it was started stands, and the outcome is counted until the ledger takes it. What
// only reads, and a login, is recorded after, even when the ledger does not take it at once: an operator must be able
// to come in and see why.
Status AdminGate::RunLedgered(const Caller& caller, const Work& work) {
  const Status begun = Begin(caller);
  if (!begun && begun.error().reason == Reason::kLedgerUnavailable) return begun;
  const Status done = begun ? work(caller) : begun;
  JournalOutcome(caller, done);
  return done;
}

Status AdminGate::Begin(const Caller& caller) {
  if (caller.role < caller.act.least) {
    return MakeError(Reason::kRoleNotAllowed, "the role of " + caller.name + " does not allow " + caller.act.method);
  }
  if (caller.act.least == Role::kAuditor) return Ok();
  const Status begun = JournalAct(ActOf(caller, kBegun, caller.approval));
  return begun ? begun : NotLedgered(begun);
}

void AdminGate::JournalOutcome(const Caller& caller, const Status& done) {
  const std::uint64_t approval = !done && done.error().approval != 0 ? done.error().approval : caller.approval;
  const std::string_view outcome = OutcomeOf(done);
  if (!done && IsCounted(done.error().reason)) {
    Count(caller, outcome, approval);
  } else if (const Status noted = NoteAct(ActOf(caller, outcome, approval)); !noted) {
    log::error("admin: {} by {} is not on the ledger yet: {}", caller.act.method, caller.name, noted.error().message);
    Count(caller, outcome, approval);
  }
}

Status AdminGate::JournalAct(const hallmark::ledger::v1::AdminAct& act) {
  hallmark::ledger::v1::Record record;
  *record.mutable_admin_act() = act;
  return parts_.journal(record);
}

Status AdminGate::NoteAct(const hallmark::ledger::v1::AdminAct& act) {
  if (act.outcome() != "OK") {
    log::warn("admin: {} by {} refused: {}, {} times", act.method(),
              act.operator_().empty() ? "nobody known" : act.operator_(), act.outcome(), act.count());
  }
  hallmark::ledger::v1::Record record;
  *record.mutable_admin_act() = act;
  return parts_.note(record);
}

void AdminGate::Count(const Caller& caller, std::string_view outcome, std::uint64_t approval) {
  const auto added = counted_.Add(ActOf(caller, outcome, approval));
  if (!added.first) return;
  boost::asio::post(ThreadOf(Lane::kStore), [this, none_known = added.none_known] {
    counted_.Flush([this](const auto& act) { return NoteAct(act); });
    if (none_known) ScheduleTick();
  });
}

void AdminGate::ScheduleTick() {
  timer_.expires_after(kCountingTime);
  timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (!cancelled && counted_.Tick([this](const auto& act) { return NoteAct(act); })) ScheduleTick();
  });
}

// Of a large request a record has the beginning only, and its end may find no room: so all of it is there before, in as
// many records as it takes. Of these, too, each says that the act has begun.
Status AdminGate::Announce(const Caller& caller, const std::vector<std::string>& changes) {
  for (std::size_t next = 0; next < changes.size();) {
    hallmark::ledger::v1::AdminAct act = ActOf(caller, kBegun, caller.approval);
    act.clear_changes();
    next = AddChanges(changes, next, act);
    if (const Status begun = JournalAct(act); !begun) return NotLedgered(begun);
  }
  caller.changes.insert(caller.changes.end(), changes.begin(), changes.end());
  return Ok();
}

Status AdminGate::RequireApproval(const Caller& caller, const std::string& danger) {
  if (caller.approval != 0) {
    const auto approved = parts_.approvals.Get(static_cast<std::int64_t>(caller.approval));
    if (!approved) return approved.error();
    if (approved->danger == danger) return Ok();
    return MakeError(Reason::kStateConflict, "things have changed since it was requested; it would now be: " +
                                                 CutText(danger, kMostDangerInAnError));
  }
  if (!replays_.contains(caller.act.method)) {
    return MakeError(Reason::kInternal, std::string(caller.act.method) + " cannot be carried out later");
  }
  if (danger.size() > kMostDanger) {
    return MakeError(Reason::kInvalidArgument,
                     "this does more than a second person can judge at once: ask for it in several parts. It " +
                         CutText(danger, kMostDangerInAnError));
  }
  operators::ApprovalRow row;
  row.requester = caller.name;
  row.certificate = caller.certificate;
  row.least = caller.act.least;
  row.method = caller.act.method;
  row.request.assign(caller.request.begin(), caller.request.end());
  row.shown = caller.shown.json;
  row.danger = danger;
  const auto id = parts_.approvals.Request(std::move(row));
  if (!id) return id.error();
  caller.changes.push_back(danger);
  Error error = MakeError(Reason::kApprovalRequired, CutText(danger, kMostDangerInAnError) +
                                                         ": this needs a second person, and waits as approval " +
                                                         std::to_string(*id));
  error.approval = static_cast<std::uint64_t>(*id);
  return error;
}

Result<operators::ApprovalRow> AdminGate::Approve(const Caller& officer, std::int64_t id) {
  return parts_.approvals.Approve(id, {officer.name, officer.certificate},
                                  [this, &officer](const operators::ApprovalRow& approval) {
                                    officer.changes.push_back(approval.danger);
                                    return CarryOut(approval);
                                  });
}

Status AdminGate::CarryOut(const operators::ApprovalRow& approval) {
  const auto replay = replays_.find(approval.method);
  if (replay == replays_.end()) {
    return MakeError(Reason::kStateConflict, "this version of signerd has no " + approval.method);
  }
  const auto requester = parts_.operators.Get(approval.requester);
  if (!requester) return MakeError(Reason::kStateConflict, approval.requester + " is no operator any more");
  if (parts_.transport.IsRevoked(approval.certificate)) {
    return MakeError(Reason::kStateConflict, "the certificate that " + approval.requester + " asked with is revoked");
  }
  const std::string request(approval.request.begin(), approval.request.end());
  const Caller caller{requester->name,
                      requester->role,
                      {replay->first.c_str(), approval.least},
                      request,
                      static_cast<std::uint64_t>(approval.id),
                      approval.certificate,
                      ShowApproved(*replay->second.form, request),
                      {approval.danger}};
  const Status done = RunLedgered(caller, [&](const Caller& as) { return replay->second.replay(as, request); });
  Log(caller, done);
  return done;
}

}  // namespace hallmark::service
