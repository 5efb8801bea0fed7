#include "signerd/service/appliance_service.h"

#include <google/protobuf/struct.pb.h>

#include <boost/asio/post.hpp>

#include "firmware/runtime/file.h"
#include "firmware/runtime/log.h"
#include "signerd/keys/erase.h"
#include "signerd/service/errors.h"
#include "signerd/service/gated_stream.h"
#include "signerd/service/replay.h"
#include "signerd/service/request_json.h"

namespace hallmark::service {
namespace {

namespace api = hallmark::admin::v1;

constexpr std::size_t kMostOctets = 256 << 10;  // of an answer, as the API says
constexpr std::size_t kMostNamed = 3000;        // octets of the keys that one record names

// What two officers agree to, in words.
std::string DangerOf(const std::string& box, const std::set<std::string>& leave) {
  std::string danger = "destroys every key in the tokens and the whole state of the box " + box +
                       ", its ledger too, for good; it then starts as new";
  std::string names;
  for (const std::string& token : leave) names += (names.empty() ? "" : ", ") + token;
  return names.empty() ? danger : danger + ". Keys that cannot be destroyed in " + names + " stay there";
}

}  // namespace

ApplianceService::ApplianceService(Parts parts) : parts_(std::move(parts)) {
  SetReplayOf<api::FactoryResetRequest, api::FactoryResetResponse>(
      parts_.gate, "FactoryReset",
      [this](const Caller& caller, const auto& request, auto*) { return Reset(caller, request); }, Lane::kToken);
}

Status ApplianceService::Backup(StreamWriter<api::CreateBackupResponse>& out) const {
  if (parts_.backup.recipients.empty()) {
    return MakeError(Reason::kStateConflict,
                     "there is nobody to encrypt a backup for: name certificates as backup.recipients in "
                     "hallmark.toml, and restart");
  }
  const auto keys = [this] {
    auto known = parts_.verifier_keys();
    // A token that cannot sign checkpoints, or has not yet, keeps nobody from a backup.
    if (!known && known.error().reason == Reason::kNotFound) known = ledger::VerifierKeys();
    return known;
  };
  const auto send = [&](std::string_view octets) -> Status {
    for (; !octets.empty(); octets.remove_prefix(std::min(octets.size(), kMostOctets))) {
      api::CreateBackupResponse response;
      response.set_data(std::string(octets.substr(0, kMostOctets)));
      if (!out.Write(response)) return MakeError(Reason::kCancelled, "the call was cancelled");
    }
    return Ok();
  };
  return backup::WriteBackup({parts_.backup, parts_.ledger, keys, parts_.clock, [&] { return out.broken(); }}, send);
}

grpc::ServerWriteReactor<api::CreateBackupResponse>* ApplianceService::CreateBackup(
    Context* context, const api::CreateBackupRequest* request) {
  auto* out = StreamWriter<api::CreateBackupResponse>::Make(context);
  auto caller = parts_.gate.Identify(*context, {"CreateBackup", Role::kOfficer}, *request);
  if (!caller) {
    out->Finish(ToGrpcStatus(caller.error(), Audience::kOperator));
    return out;
  }
  boost::asio::post(backups_, [this, context, caller = std::move(*caller), out] {
    const Status done = RunGated<api::CreateBackupResponse>(parts_.gate, *context, caller, *out,
                                                            [this](auto& writer) { return Backup(writer); });
    out->Finish(done ? grpc::Status::OK : ToGrpcStatus(done.error(), Audience::kOperator));
  });
  return out;
}

// As few records as will do: each waits for the disk.
Status ApplianceService::NoteLeft(const Caller& caller, const std::vector<std::string>& left) const {
  for (std::size_t next = 0; next < left.size();) {
    google::protobuf::Value named;
    for (std::size_t octets = 0; next < left.size() && octets < kMostNamed; ++next) {
      octets += left[next].size();
      named.mutable_list_value()->add_values()->set_string_value(left[next]);
      log::warn("factory reset: a key stays: {}", left[next]);
    }
    google::protobuf::Struct request;
    (*request.mutable_fields())["left_keys"] = named;
    hallmark::ledger::v1::Record record;
    auto& act = *record.mutable_admin_act();
    act.set_operator_(caller.name);
    act.set_method("LeaveKeys");
    SetRequest(ShowRequest(request), act);
    act.set_outcome("OK");
    act.set_approval(caller.approval);
    act.set_count(1);
    if (const Status done = parts_.note(record); !done) return done;
  }
  return Ok();
}

// The mark is last: it has the box erase the state, which is what says where the keys are.
Status ApplianceService::Erase(const Caller& caller, const std::set<std::string>& leave) const {
  const auto erased = keys::EraseKeys(parts_.store, parts_.signer, leave);
  if (!erased) {
    return MakeError(erased.error().reason, erased.error().message +
                                                "; the state is there still. Keys may be gone already: ask again, or "
                                                "restart signerd, which lets keys rotate and checkpoints be signed "
                                                "again");
  }
  if (const Status named = NoteLeft(caller, erased->left); !named) return named;
  log::warn("factory reset: {} keys are destroyed, {} stay; the box is to erase the state", erased->destroyed,
            erased->left.size());
  return WriteFileAtomically(parts_.reset_mark, "by " + caller.name + "\n");
}

Status ApplianceService::Reset(const Caller& caller, const api::FactoryResetRequest& request) const {
  if (parts_.reset_mark.empty()) {
    return MakeError(Reason::kStateConflict,
                     "this signerd does not run on a box that can start as new: stop it, and delete its state");
  }
  if (request.box() != parts_.backup.box) {
    return MakeError(Reason::kInvalidArgument, "box: this one is " + parts_.backup.box);
  }
  const std::set<std::string> leave(request.leave_keys_in().begin(), request.leave_keys_in().end());
  if (const Status known = keys::CheckLeave(parts_.store, leave); !known) return known;
  const Status may = parts_.gate.RequireApproval(caller, DangerOf(parts_.backup.box, leave));
  if (!may) return may;
  parts_.stop_making_keys();
  // What operators ask for meanwhile waits for this thread: it comes after the erasure, and must not be made then.
  const bool made_keys = parts_.keys.StopMaking();
  const Status done = Erase(caller, leave);
  std::error_code ignored;
  if (done) {
    parts_.end();
  } else if (made_keys && !std::filesystem::exists(parts_.reset_mark, ignored)) {  // a mark is obeyed at the next start
    parts_.keys.ResumeMaking();
  }
  return done;
}

grpc::ServerUnaryReactor* ApplianceService::FactoryReset(Context* context, const api::FactoryResetRequest* request,
                                                         api::FactoryResetResponse*) {
  return parts_.gate.Run(context, {"FactoryReset", Role::kOfficer, Lane::kToken}, *request,
                         [this, request](const Caller& caller) { return Reset(caller, *request); });
}

}  // namespace hallmark::service
