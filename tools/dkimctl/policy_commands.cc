#include <algorithm>

#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "signerd/policy/policy_file.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = admin::v1::PolicyService::Stub;
using admin::v1::PolicyChange;

struct Options {
  std::string file;
  bool dry_run = false;
};

// All mistakes of the file, a line each, as it is read; then what becomes of it.
Answer<admin::v1::Policy> Load(const std::string& file) {
  auto policy = policy::LoadPolicy(file);
  if (policy) return std::move(*policy);
  if (policy.error().reason != Reason::kConfigInvalid) return FromError(policy.error());
  const std::string& lines = policy.error().message;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    Complain(std::string_view(lines).substr(at, end - at));
    at = end + 1;
  }
  return Failed(file + " was not applied: correct the lines above");
}

const char* SignOf(PolicyChange::Kind kind) {
  if (kind == PolicyChange::ADDED) return "+ ";
  return kind == PolicyChange::REMOVED ? "- " : "~ ";
}

std::string ChangesText(const admin::v1::ApplyPolicyResponse& answer) {
  std::string text;
  for (const PolicyChange& change : answer.changes()) {
    text += SignOf(change.kind()) + OneLine(change.what()) + "\n";
    for (const std::string& line : change.lines()) {
      const bool widens = std::count(change.widens().begin(), change.widens().end(), line) > 0;
      for (const std::string& part : Wrap(OneLine(line) + (widens ? " (widens rights)" : ""), Table::kColumns - 4)) {
        text += "    " + part + "\n";
      }
    }
  }
  return text;
}

Outcome Apply(const Context& context, const Options& options) {
  auto policy = Load(options.file);
  if (!policy) return policy.error();
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto present = client->Call(&Stub::GetPolicy, admin::v1::GetPolicyRequest());
  if (!present) return present.error();
  admin::v1::ApplyPolicyRequest request;
  *request.mutable_policy() = std::move(*policy);
  request.set_validate_only(options.dry_run);
  request.set_etag(present->etag());
  const auto answer = client->Call(&Stub::ApplyPolicy, request);
  if (!answer) return answer.error();
  std::string text = ChangesText(*answer);
  if (answer->changes().empty()) {
    text = "no changes: the policy is so already\n";
  } else {
    text += options.dry_run ? "\nnothing was changed\n" : "\nin force from the next message on\n";
  }
  Print(context, text, Json::Message(*answer));
  return ExitCode::kDone;
}

Outcome Export(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->Call(&Stub::GetPolicy, admin::v1::GetPolicyRequest());
  if (!answer) return answer.error();
  Print(context, policy::PolicyText(answer->policy()), Json::Message(*answer));
  return ExitCode::kDone;
}

}  // namespace

void AddPolicyCommands(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* apply = AddCommand(app, context, "apply", "Make the policy what a file says",
                               "dkimctl apply -f policy.toml --dry-run\n"
                               "dkimctl apply -f policy.toml",
                               [&context, options] { return Apply(context, *options); });
  apply->add_option("-f,--file", options->file, "The policy, as export writes it")->required()->type_name("FILE");
  apply->add_flag("--dry-run", options->dry_run, "Show the difference, and change nothing");
  AddTimeout(*apply, context);

  CLI::App* write =
      AddCommand(app, context, "export", "Write the policy as a file for apply",
                 "dkimctl export > policy.toml\ndkimctl export --output json", [&context] { return Export(context); });
  AddTimeout(*write, context);
}

}  // namespace hallmark::ctl
