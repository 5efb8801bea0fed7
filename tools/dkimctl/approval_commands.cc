#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using Stub = AdminClient::Operators;

struct Options {
  std::uint64_t id = 0;
  std::string reason;
  bool all = false, yes = false;
};

std::string Describe(const api::Approval& approval) {
  Table facts;
  facts.Add({"approval:", std::to_string(approval.id())});
  facts.Add({"state:", NameOf(approval.state())});
  facts.Add({"asked by:", approval.requester() + ", " + TimeText(approval.create_time())});
  facts.Add({"it:", approval.danger()});
  facts.Add({"call:", approval.method() + " " + approval.request()});
  facts.Add({"expires:", TimeText(approval.expire_time())});
  if (!approval.decider().empty()) {
    facts.Add({"decided by:", approval.decider() + ", " + TimeText(approval.decide_time())});
  }
  if (!approval.outcome().empty()) facts.Add({"outcome:", approval.outcome()});
  return facts.Render();
}

Answer<api::Approval> Get(AdminClient& client, std::uint64_t id) {
  api::ListApprovalsRequest request;
  request.set_id(id);
  const auto answer = client.Call(&Stub::ListApprovals, request);
  if (!answer) return answer.error();
  if (answer->approvals_size() != 1) return Failed("signerd gave no such approval");
  return answer->approvals(0);
}

Outcome List(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::ListApprovalsRequest request;
  request.set_all(options.all);
  const auto answer = client->Call(&Stub::ListApprovals, request);
  if (!answer) return answer.error();
  Table table({"ID", "STATE", "ASKED BY", "EXPIRES", "WHAT"});
  Json list = Json::Array();
  for (const auto& approval : answer->approvals()) {
    table.Add({std::to_string(approval.id()), NameOf(approval.state()), approval.requester(),
               TimeText(approval.expire_time()), approval.danger()});
    list.Add(Json::Message(approval));
  }
  Print(context, table.Render(), Json::Object().Set("approvals", std::move(list)));
  return ExitCode::kDone;
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto approval = Get(*client, options.id);
  if (!approval) return approval.error();
  Print(context, Describe(*approval), Json::Message(*approval));
  return ExitCode::kDone;
}

// Whoever approves sees first what it is.
Outcome Approve(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (!options.yes) {
    const auto waiting = Get(*client, options.id);
    if (!waiting) return waiting.error();
    if (!Confirm(waiting->requester() + ": " + OneLine(waiting->danger()) + ". Approve it?")) {
      return Failed("not approved; look with: dkimctl approvals show " + std::to_string(options.id) +
                    ", then say --yes");
    }
  }
  api::ApproveRequest request;
  request.set_id(options.id);
  const auto approval = client->Call(&Stub::Approve, request);
  if (!approval) return approval.error();
  Print(context, Describe(*approval), Json::Message(*approval));
  return approval->state() == api::APPROVAL_STATE_DONE ? ExitCode::kDone : ExitCode::kFailed;
}

Outcome Reject(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::RejectRequest request;
  request.set_id(options.id);
  request.set_reason(options.reason);
  const auto approval = client->Call(&Stub::Reject, request);
  if (!approval) return approval.error();
  Print(context, Describe(*approval), Json::Message(*approval));
  return ExitCode::kDone;
}

void AddId(CLI::App& command, Context& context, Options& options) {
  command.add_option("ID", options.id, "The approval's number")->required()->type_name("");
  AddTimeout(command, context);
}

}  // namespace

void AddApprovalCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "approvals", "Requests that need a second person",
                             "dkimctl approvals list\ndkimctl approvals show 7\ndkimctl approvals approve 7");
  const auto options = std::make_shared<Options>();

  CLI::App* list = AddCommand(*group, context, "list", "List the requests that wait",
                              "dkimctl approvals list\ndkimctl approvals list --all --output json",
                              [&context, options] { return List(context, *options); });
  list->add_flag("--all", options->all, "Also those that wait no longer");
  AddTimeout(*list, context);

  CLI::App* show = AddCommand(*group, context, "show", "Show one request", "dkimctl approvals show 7",
                              [&context, options] { return Show(context, *options); });
  AddId(*show, context, *options);

  CLI::App* approve = AddCommand(*group, context, "approve", "Have a request of another operator carried out",
                                 "dkimctl approvals approve 7\ndkimctl approvals approve 7 --yes --as officer2",
                                 [&context, options] { return Approve(context, *options); });
  AddId(*approve, context, *options);
  approve->add_flag("--yes", options->yes, "Do not ask");

  CLI::App* reject = AddCommand(*group, context, "reject", "Refuse a request, or take back one's own",
                                "dkimctl approvals reject 7 --reason \"not before Monday\"",
                                [&context, options] { return Reject(context, *options); });
  AddId(*reject, context, *options);
  reject->add_option("--reason", options->reason, "Why, for the record")->type_name("TEXT");
}

}  // namespace hallmark::ctl
