#include "signerd/service/ledger_service.h"

#include <boost/asio/post.hpp>
#include <charconv>
#include <thread>

#include "signerd/ledger/export.h"
#include "signerd/ledger/verify.h"
#include "signerd/service/errors.h"
#include "signerd/service/gated_stream.h"
#include "signerd/service/replay.h"

namespace hallmark::service {
namespace {

namespace api = hallmark::admin::v1;

constexpr int kMostPage = 1000, kUsualPage = 100;
constexpr std::size_t kMostCheckpoints = 16u << 20;  // octets of checkpoints that an auditor kept
constexpr std::chrono::seconds kIndexWait{2};
constexpr std::chrono::milliseconds kRebuildTick{200}, kProgressTick{100};

std::int64_t Microseconds(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1'000'000 + time.nanos() / 1000;
}

Status Fill(std::uint64_t sequence, std::string octets, api::LedgerRecord& entry) {
  entry.set_sequence(sequence);
  if (!entry.mutable_record()->ParseFromString(octets)) {
    return MakeError(Reason::kStorageFailed, "record " + std::to_string(sequence) + " is damaged; verify the ledger");
  }
  entry.set_octets(std::move(octets));
  return Ok();
}

Result<ledger::SearchPage> PageOf(const api::SearchRecordsRequest& request) {
  ledger::SearchPage page;
  page.oldest_first = request.oldest_first();
  if (request.page_size() < 0 || request.page_size() > kMostPage) {
    return MakeError(Reason::kInvalidArgument, "page_size: expected at most " + std::to_string(kMostPage));
  }
  page.most = static_cast<std::size_t>(request.page_size() == 0 ? kUsualPage : request.page_size());
  if (request.page_token().empty()) return page;
  const std::string& token = request.page_token();
  std::uint64_t after = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), after);
  if (error != std::errc() || end != token.data() + token.size()) {
    return MakeError(Reason::kInvalidArgument, "page_token: is not one that a search gave");
  }
  page.after = after;
  return page;
}

}  // namespace

LedgerService::LedgerService(Parts parts) : parts_(std::move(parts)), streams_(kStreams) {
  SetReplayOf<api::SetRetentionRequest, api::Retention>(
      parts_.gate, "SetRetention", [this](const Caller& caller, const auto& request, auto* response) {
        return KeepFor(caller, request, *response);
      });
}

template <class Response>
LedgerService::Stream<Response>* LedgerService::RunStream(Context* context, const Act& act,
                                                          const google::protobuf::Message& request,
                                                          std::function<Status(StreamWriter<Response>&)> work) {
  auto* out = StreamWriter<Response>::Make(context);
  auto caller = parts_.gate.Identify(*context, act, request);
  const Status may = caller ? Enter(caller->name) : caller.error();
  if (!may) {
    if (caller) parts_.gate.Done(*caller, may);
    out->Finish(ToGrpcStatus(may.error(), Audience::kOperator));
    return out;
  }
  boost::asio::post(streams_, [this, context, caller = std::move(*caller), out, work = std::move(work)] {
    const Status done = RunGated<Response>(parts_.gate, *context, caller, *out, work);
    Leave(caller.name);
    out->Finish(done ? grpc::Status::OK : ToGrpcStatus(done.error(), Audience::kOperator));
  });
  return out;
}

Status LedgerService::Enter(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (running_[name] >= kMostEach) {
    return MakeError(Reason::kOverloaded, std::to_string(kMostEach) + " such calls of " + name +
                                              " run or wait already: let one of them end first");
  }
  ++running_[name];
  return Ok();
}

void LedgerService::Leave(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (--running_[name] == 0) running_.erase(name);
}

Status LedgerService::Search(const api::SearchRecordsRequest& request, api::SearchRecordsResponse& response) const {
  const auto page = PageOf(request);
  if (!page) return page.error();
  ledger::Query query;
  query.partner = request.partner();
  query.domain = request.signing_domain();
  query.recipient = request.recipient();
  if (!query.recipient.empty() && parts_.recipients.mode() == ledger::Recipients::Mode::kNone) {
    return MakeError(Reason::kInvalidArgument, "recipient: this ledger holds none (ledger.recipients is \"none\")");
  }
  if (!query.recipient.empty() && parts_.recipients.mode() == ledger::Recipients::Mode::kHashed) {
    const auto hash = parts_.recipients.Hash({&query.recipient, 1}).front();
    query.recipient_hash.assign(hash.begin(), hash.end());
  }
  query.message_id = request.message_id();
  query.from = request.from();
  query.kind = request.kind();
  if (!query.kind.empty() && query.kind != "signature" && query.kind != "admin_act" && query.kind != "alert") {
    return MakeError(Reason::kInvalidArgument, "kind: expected \"signature\", \"admin_act\" or \"alert\"");
  }
  if (request.has_since()) query.since_us = Microseconds(request.since());
  if (request.has_until()) query.until_us = Microseconds(request.until());
  response.set_indexed(parts_.indexer.state().indexed);
  auto found = parts_.indexer.Search(query, *page);
  if (!found) return found.error();
  for (ledger::Hit& hit : found->hits) {
    const Status filled = Fill(hit.sequence, std::move(hit.octets), *response.add_records());
    if (!filled) return filled;
  }
  if (found->more) response.set_next_page_token(std::to_string(found->hits.back().sequence));
  return Ok();
}

Status LedgerService::FillCheckpoint(api::Checkpoint& response) const {
  const auto note = parts_.ledger.latest_checkpoint();
  if (!note) return MakeError(Reason::kNotFound, "no checkpoint has been signed yet; try again in some seconds");
  const auto keys = parts_.verifier_keys();
  if (!keys) return keys.error();
  std::size_t signer = 0;  // a new key has not signed yet where its token was just put in
  const auto head = ledger::OpenCheckpoint(*note, *keys, signer);
  if (!head) return head.error();
  response.set_note(*note);
  response.set_verifier_key((*keys)[signer].Text());
  response.set_tree_size(head->size);
  response.set_root(std::string(ledger::AsText(head->root)));
  return Ok();
}

Status LedgerService::Prove(std::uint64_t sequence, api::InclusionProof& response) const {
  Status done = FillCheckpoint(*response.mutable_checkpoint());
  if (!done) return done;
  const std::uint64_t size = response.checkpoint().tree_size();
  auto octets = parts_.indexer.Record(sequence);
  if (!octets) return octets.error();
  if (sequence >= size) {
    return MakeError(Reason::kStateConflict, "record " + std::to_string(sequence) +
                                                 " is not under a checkpoint yet; try again in some seconds");
  }
  if (!parts_.indexer.WaitFor(size, kIndexWait)) {
    return MakeError(Reason::kLedgerUnavailable, "the ledger's index has not come so far yet; see its status");
  }
  const auto tree = parts_.indexer.tree();
  if (!tree) return tree.error();
  const auto hashes = (*tree)->InclusionProof(sequence, size);
  if (!hashes) return hashes.error();
  for (const ledger::Hash& hash : *hashes) response.add_hashes(std::string(ledger::AsText(hash)));
  response.set_tree_size(size);
  return Fill(sequence, std::move(*octets), *response.mutable_record());
}

Status LedgerService::Verify(const api::VerifyLedgerRequest& request,
                             StreamWriter<api::VerifyLedgerResponse>& out) const {
  if (request.checkpoints().size() > kMostCheckpoints) {
    return MakeError(Reason::kInvalidArgument,
                     "checkpoints: more than 16 MiB at once: give the last of them, or check an export with "
                     "ledger-verify, which takes all");
  }
  const std::uint64_t first = request.first_record(), end = request.end_record();
  const std::uint64_t durable = parts_.ledger.durable().size;
  if ((end != 0 && (end <= first || end > durable)) || (first != 0 && first >= durable)) {
    return MakeError(Reason::kInvalidArgument, "first_record, end_record: expected a part of the ledger's " +
                                                   std::to_string(durable) + " records");
  }
  Status known = Ok();  // who signs
  const auto keys = [&] {
    auto found = parts_.verifier_keys();
    if (!found) known = found.error();
    return found;
  };
  std::chrono::steady_clock::time_point told{};  // long ago: the first step is told at once
  const auto segments = parts_.ledger.KeepSegments();
  const auto verified = ledger::Verify({parts_.ledger.directory(), keys, request.checkpoints(), first, end,
                                        [this] { return parts_.ledger.durable(); },
                                        [&](std::uint64_t done, std::uint64_t size) {
                                          const auto now = std::chrono::steady_clock::now();
                                          if (now - told < kProgressTick) return !out.broken();
                                          told = now;
                                          api::VerifyLedgerResponse response;
                                          response.mutable_progress()->set_done(done);
                                          response.mutable_progress()->set_total(size);
                                          return out.Write(response);
                                        }});
  if (!known) return known;
  const bool damaged = !verified && verified.error().reason == Reason::kInvalidArgument;
  if (!verified && !damaged) return verified.error();
  api::VerifyLedgerResponse response;
  auto& result = *response.mutable_result();
  const std::string not_compared = verified ? ledger::NotCompared(*verified) : "";
  result.set_whole(!damaged && not_compared.empty());
  if (damaged) {
    result.set_problem(verified.error().message);
  } else {
    result.set_problem(not_compared);
    result.set_records(verified->head.size);
    result.set_deleted_records(verified->deleted);
    result.set_checkpoints(verified->checkpoints);
    result.set_root(std::string(ledger::AsText(verified->head.root)));
    result.set_first_record(verified->first);
    result.set_end_record(verified->end);
  }
  return out.Write(response) ? Ok() : MakeError(Reason::kCancelled, "the call was cancelled");
}

Status LedgerService::Rebuild(StreamWriter<api::RebuildIndexResponse>& out) const {
  parts_.indexer.Rebuild();
  while (true) {
    const auto state = parts_.indexer.state();
    api::RebuildIndexResponse response;
    response.mutable_progress()->set_done(state.indexed);
    response.mutable_progress()->set_total(parts_.ledger.durable().size);
    if (!out.Write(response)) return MakeError(Reason::kCancelled, "the call was cancelled; the index goes on");
    if (!state.problem.empty()) return MakeError(Reason::kStorageFailed, state.problem);
    if (!state.rebuilding) return Ok();
    std::this_thread::sleep_for(kRebuildTick);
  }
}

void LedgerService::FillStatus(api::LedgerStatus& response) const {
  response.set_available(parts_.ledger.available());
  response.set_records(parts_.ledger.durable().size);
  if (const auto note = parts_.ledger.latest_checkpoint()) {
    if (const auto head = ledger::ParseCheckpoint(*note)) response.set_checkpointed_records(head->size);
  }
  const auto index = parts_.indexer.state();
  response.set_indexed_records(index.indexed);
  response.set_rebuilding(index.rebuilding);
  response.set_index_problem(index.problem);
  const auto retention = parts_.retention.state();
  response.set_first_record(retention.first);
  response.set_retention_problem(retention.problem.empty() ? retention.clock_doubt : retention.problem);
  const auto sink = parts_.ledger.sink();
  if (!sink) return;
  response.mutable_sink()->set_required(sink->required);
  response.mutable_sink()->set_available(sink->available);
  response.mutable_sink()->set_written_records(sink->written);
  response.mutable_sink()->set_dropped_records(sink->dropped);
}

void LedgerService::FillRetention(api::Retention& response) const {
  const auto state = parts_.retention.state();
  response.set_keep_days(state.days);
  response.set_default_keep_days(state.default_days);
  response.set_set_by_operator(state.stored);
}

Status LedgerService::KeepFor(const Caller& caller, const api::SetRetentionRequest& request,
                              api::Retention& response) const {
  if (request.keep_case() == api::SetRetentionRequest::KEEP_NOT_SET ||
      (request.has_use_default() && !request.use_default())) {
    return MakeError(Reason::kInvalidArgument, "keep: expected keep_days or use_default");
  }
  const auto state = parts_.retention.state();
  const std::int64_t days = request.has_keep_days() ? request.keep_days() : state.default_days;
  if (days < 0 || days > ledger::Retention::kMostDays) {
    return MakeError(Reason::kInvalidArgument,
                     "keep_days: expected 0 (for ever) to " + std::to_string(ledger::Retention::kMostDays));
  }
  const bool changes = days != state.days || request.has_keep_days() != state.stored;
  const bool confirms = !state.clock_doubt.empty();
  if (changes || confirms) {
    const std::string keeps =
        (days == 0 ? "keeps the ledger's records for ever"
                   : "deletes records of the ledger that are older than " + std::to_string(days) + " days") +
        (request.has_keep_days() ? "" : ", as hallmark.toml says") + "; so far " +
        (state.days == 0 ? "they are kept for ever" : "that is " + std::to_string(state.days) + " days");
    const Status may = parts_.gate.RequireApproval(
        caller, keeps + (confirms ? ", and says that the clock is right, for retention and for the rotation of keys: " +
                                        state.clock_doubt
                                  : ""));
    if (!may) return may;
  }
  const Status set = parts_.retention.Set(request.has_keep_days() ? std::optional(days) : std::nullopt);
  if (set) FillRetention(response);
  return set;
}

LedgerService::Reactor* LedgerService::SearchRecords(Context* context, const api::SearchRecordsRequest* request,
                                                     api::SearchRecordsResponse* response) {
  return parts_.gate.Run(context, {"SearchRecords", Role::kAuditor}, *request,
                         [=, this](const Caller&) { return Search(*request, *response); });
}

LedgerService::Reactor* LedgerService::GetRecord(Context* context, const api::GetRecordRequest* request,
                                                 api::LedgerRecord* response) {
  return parts_.gate.Run(context, {"GetRecord", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    auto octets = parts_.indexer.Record(request->sequence());
    if (!octets) return octets.error();
    return Fill(request->sequence(), std::move(*octets), *response);
  });
}

LedgerService::Reactor* LedgerService::GetInclusionProof(Context* context, const api::GetInclusionProofRequest* request,
                                                         api::InclusionProof* response) {
  return parts_.gate.Run(context, {"GetInclusionProof", Role::kAuditor}, *request,
                         [=, this](const Caller&) { return Prove(request->sequence(), *response); });
}

LedgerService::Reactor* LedgerService::GetCheckpoint(Context* context, const api::GetCheckpointRequest* request,
                                                     api::Checkpoint* response) {
  return parts_.gate.Run(context, {"GetCheckpoint", Role::kAuditor}, *request,
                         [=, this](const Caller&) { return FillCheckpoint(*response); });
}

LedgerService::Stream<api::VerifyLedgerResponse>* LedgerService::VerifyLedger(Context* context,
                                                                              const api::VerifyLedgerRequest* request) {
  return RunStream<api::VerifyLedgerResponse>(
      context, {"VerifyLedger", Role::kAuditor}, *request,
      [=, this](StreamWriter<api::VerifyLedgerResponse>& out) { return Verify(*request, out); });
}

LedgerService::Stream<api::ExportLedgerResponse>* LedgerService::ExportLedger(Context* context,
                                                                              const api::ExportLedgerRequest* request) {
  return RunStream<api::ExportLedgerResponse>(
      context, {"ExportLedger", Role::kAuditor}, *request,
      [this](StreamWriter<api::ExportLedgerResponse>& out) -> Status {
        const auto segments = parts_.ledger.KeepSegments();
        const auto done = ledger::Export({parts_.ledger.directory(),
                                          parts_.verifier_keys,
                                          [this] { return parts_.ledger.durable(); },
                                          {},
                                          [&](const std::string& path, std::string_view octets, std::uint64_t records) {
                                            api::ExportLedgerResponse response;
                                            response.set_path(path);
                                            response.set_octets(std::string(octets));
                                            response.mutable_progress()->set_done(records);
                                            response.mutable_progress()->set_total(parts_.ledger.durable().size);
                                            return out.Write(response);
                                          }});
        return done ? Ok() : Status(done.error());
      });
}

LedgerService::Stream<api::RebuildIndexResponse>* LedgerService::RebuildIndex(Context* context,
                                                                              const api::RebuildIndexRequest* request) {
  return RunStream<api::RebuildIndexResponse>(
      context, {"RebuildIndex", Role::kOperator}, *request,
      [this](StreamWriter<api::RebuildIndexResponse>& out) { return Rebuild(out); });
}

LedgerService::Reactor* LedgerService::GetLedgerStatus(Context* context, const api::GetLedgerStatusRequest* request,
                                                       api::LedgerStatus* response) {
  return parts_.gate.Run(context, {"GetLedgerStatus", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    FillStatus(*response);
    return Ok();
  });
}

LedgerService::Reactor* LedgerService::GetRetention(Context* context, const api::GetRetentionRequest* request,
                                                    api::Retention* response) {
  return parts_.gate.Run(context, {"GetRetention", Role::kAuditor}, *request, [=, this](const Caller&) -> Status {
    FillRetention(*response);
    return Ok();
  });
}

LedgerService::Reactor* LedgerService::SetRetention(Context* context, const api::SetRetentionRequest* request,
                                                    api::Retention* response) {
  return parts_.gate.Run(context, {"SetRetention", Role::kOfficer}, *request,
                         [=, this](const Caller& caller) { return KeepFor(caller, *request, *response); });
}

}  // namespace hallmark::service
