#include "hallmark/admin/v1/alerts.grpc.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using Stub = api::AlertService::Stub;

struct Options {
  bool open_only = false;
  int most = 100;
  std::uint64_t id = 0, page = 0;
};

// Two lines an alert: what a person reads is a sentence, which no column of 80 would hold.
std::string Text(const api::ListAlertsResponse& answer) {
  std::string text;
  for (const api::Alert& alert : answer.alerts()) {
    text += std::to_string(alert.id()) + "  " + TimeText(alert.raise_time()) + "  " + alert.kind();
    if (!alert.action().empty()) text += "  " + alert.action();
    text += alert.has_acknowledge_time() ? "  acknowledged" : "  open";
    text += "\n    " + OneLine(alert.message()) + "\n";
  }
  return text.empty() ? "no alerts\n" : text;
}

// Where the page after this one begins; empty where there is none, which a page that is full does not say.
Answer<std::string> NextPage(AdminClient& client, api::ListAlertsRequest request, const api::ListAlertsResponse& page) {
  if (page.alerts_size() < request.page_size()) return std::string();
  request.set_before(page.alerts(page.alerts_size() - 1).id());
  request.set_page_size(1);
  const auto answer = client.Call(&Stub::ListAlerts, request);
  if (!answer) return answer.error();
  return answer->alerts().empty() ? std::string() : std::to_string(request.before());
}

Outcome List(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::ListAlertsRequest request;
  request.set_open_only(options.open_only);
  request.set_page_size(options.most);
  request.set_before(options.page);
  const auto answer = client->Call(&Stub::ListAlerts, request);
  if (!answer) return answer.error();
  const auto next = NextPage(*client, request, *answer);
  if (!next) return next.error();
  Json alerts = Json::Array();
  for (const api::Alert& alert : answer->alerts()) alerts.Add(Json::Message(alert));
  Print(context, Text(*answer) + (next->empty() ? "" : "more with --page " + *next + "\n"),
        Json::Object().Set("alerts", std::move(alerts)).Set("next_page_token", Json::Text(*next)));
  return ExitCode::kDone;
}

Outcome Acknowledge(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::AcknowledgeAlertRequest request;
  request.set_id(options.id);
  const auto alert = client->Call(&Stub::AcknowledgeAlert, request);
  if (!alert) return alert.error();
  Print(context, "alert " + std::to_string(alert->id()) + " is acknowledged by " + alert->acknowledged_by() + "\n",
        Json::Message(*alert));
  return ExitCode::kDone;
}

}  // namespace

void AddAlertCommands(CLI::App& app, Context& context) {
  CLI::App* group =
      AddGroup(app, "alerts", "What the watcher found", "dkimctl alerts list --open\ndkimctl alerts ack 7");
  const auto options = std::make_shared<Options>();

  CLI::App* list = AddCommand(*group, context, "list", "List alerts, newest first",
                              "dkimctl alerts list\ndkimctl alerts list --open --output json",
                              [&context, options] { return List(context, *options); });
  list->add_flag("--open", options->open_only, "Only those that nobody acknowledged");
  list->add_option("--most", options->most, "At most so many")->check(CLI::Range(1, 1000))->capture_default_str();
  list->add_option("--page", options->page, "Go on where a page ended")->type_name("TOKEN");
  AddTimeout(*list, context);

  CLI::App* ack = AddCommand(*group, context, "ack", "Say that an alert was seen to", "dkimctl alerts ack 7",
                             [&context, options] { return Acknowledge(context, *options); });
  ack->add_option("ID", options->id, "The alert")->required()->type_name("");
  AddTimeout(*ack, context);
}

}  // namespace hallmark::ctl
