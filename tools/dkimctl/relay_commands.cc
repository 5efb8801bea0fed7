#include <algorithm>

#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = admin::v1::PolicyService::Stub;
using admin::v1::Relay;

struct Options {
  std::string name;
  bool yes = false;
};

std::string Partners(const Relay& relay) {
  std::string text;
  for (const std::string& partner : relay.partners()) text += (text.empty() ? "" : ", ") + partner;
  return text;
}

std::string Facts(const Relay& relay) {
  Table table;
  table.Add({"relay:", relay.name()});
  table.Add({"state:", NameOf(relay.state())});
  table.Add({"identity:", relay.identity()});
  table.Add({"partners:", Partners(relay)});
  return table.Render();
}

Outcome List(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->Call(&Stub::ListRelays, admin::v1::ListRelaysRequest());
  if (!answer) return answer.error();
  Table table({"RELAY", "STATE", "IDENTITY", "PARTNERS"});
  for (const Relay& relay : answer->relays()) {
    table.Add({relay.name(), NameOf(relay.state()), relay.identity(), Partners(relay)});
  }
  Print(context,
        table.empty() ? "no relays; add them to the policy: dkimctl export, then dkimctl apply\n" : table.Render(),
        Json::Message(*answer));
  return ExitCode::kDone;
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->Call(&Stub::ListRelays, admin::v1::ListRelaysRequest());
  if (!answer) return answer.error();
  const auto found = std::find_if(answer->relays().begin(), answer->relays().end(),
                                  [&](const Relay& relay) { return relay.name() == options.name; });
  if (found == answer->relays().end()) return Failed("NOT_FOUND: the relay " + options.name + " does not exist");
  Print(context, Facts(*found), Json::Message(*found));
  return ExitCode::kDone;
}

Outcome Revoke(const Context& context, const Options& options) {
  if (!options.yes && !Confirm("Revoke the relay " + options.name + "? Its messages are refused from now on.")) {
    return Failed("the relay " + options.name + " was not revoked; say --yes where nobody can be asked");
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::RevokeRelayRequest request;
  request.set_name(options.name);
  const auto relay = client->Call(&Stub::RevokeRelay, request);
  if (!relay) return relay.error();
  Print(context, "relay " + relay->name() + " is " + NameOf(relay->state()) + "\n", Json::Message(*relay));
  return ExitCode::kDone;
}

}  // namespace

void AddRelayCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "relay", "Relays: who may ask for signatures",
                             "dkimctl relay list\ndkimctl relay show relay1\ndkimctl relay revoke relay1");
  const auto options = std::make_shared<Options>();

  CLI::App* list =
      AddCommand(*group, context, "list", "List the relays", "dkimctl relay list\ndkimctl relay list --output json",
                 [&context] { return List(context); });
  AddTimeout(*list, context);

  CLI::App* show = AddCommand(*group, context, "show", "Show one relay", "dkimctl relay show relay1",
                              [&context, options] { return Show(context, *options); });
  show->add_option("NAME", options->name, "The relay")->required()->type_name("");
  AddTimeout(*show, context);

  CLI::App* revoke = AddCommand(*group, context, "revoke", "Refuse a relay from the next message on",
                                "dkimctl relay revoke relay1\ndkimctl relay revoke relay1 --yes",
                                [&context, options] { return Revoke(context, *options); });
  revoke->add_option("NAME", options->name, "The relay")->required()->type_name("");
  revoke->add_flag("--yes", options->yes, "Without being asked");
  AddTimeout(*revoke, context);
}

}  // namespace hallmark::ctl
