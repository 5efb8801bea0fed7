#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "hallmark/admin/v1/appliance.grpc.pb.h"
#include "tools/dkimctl/client.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;

struct Options {
  std::string box;
  std::vector<std::string> leave;
  bool yes = false;
};

// The name as typed; empty where there is no terminal.
std::string AskName(const std::string& box) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return "";
  std::cerr << "This destroys every key of " << box << " in its tokens, its policy and its\n"
            << "ledger, for good; the box then starts as new. Type its name to go on: " << std::flush;
  std::string name;
  std::getline(std::cin, name);
  return name;
}

Outcome Reset(const Context& context, const Options& options) {
  if (options.yes && options.box.empty()) return WrongUsage("--yes: say with --box which box it is");
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto status = client->Call(&AdminClient::Stub::GetStatus, api::GetStatusRequest());
  if (!status) return status.error();
  const std::string& box = status->box();
  if (!options.box.empty() && options.box != box) {
    return Failed("this is the box " + OneLine(box) + ", not " + options.box + "; nothing was done");
  }
  if (!options.yes && AskName(OneLine(box)) != box) {
    return Failed("not done: its name was not typed; in a script: --box " + OneLine(box) + " --yes");
  }
  api::FactoryResetRequest request;
  request.set_box(box);
  request.mutable_leave_keys_in()->Assign(options.leave.begin(), options.leave.end());
  const auto done = client->Call(&api::ApplianceService::Stub::FactoryReset, request);
  if (!done) return done.error();
  Print(context, box + ": its keys are destroyed; the box erases its state\n",
        Json::Object().Set("box", Json::Text(box)));
  return ExitCode::kDone;
}

}  // namespace

void AddFactoryResetCommand(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* reset = AddCommand(app, context, "factory-reset", "Destroy a box's keys and state (two persons)",
                               "dkimctl factory-reset\ndkimctl factory-reset --box signer1 --yes",
                               [&context, options] { return Reset(context, *options); });
  reset->add_option("--box", options->box, "The box's name, as dkimctl status has it")->type_name("NAME");
  reset->add_option("--leave-keys-in", options->leave, "Keys that it will not destroy stay in it")
      ->type_name("TOKEN")
      ->allow_extra_args(false);
  reset->add_flag("--yes", options->yes, "Do not ask; with --box");
  AddTimeout(*reset, context);
}

}  // namespace hallmark::ctl
