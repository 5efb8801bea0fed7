#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/session_file.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;

std::string Greeting(const api::Operator& who, const google::protobuf::Timestamp& until) {
  return who.name() + " (" + NameOf(who.role()) + "), logged in until " + TimeText(until) + "\n";
}

Json ToJson(const api::Operator& who, const google::protobuf::Timestamp& until) {
  return Json::Object().Set("operator", Json::Message(who)).Set("session_expire_time", Json::Text(TimeText(until)));
}

Answer<api::Session> LogIn(AdminClient& client, const std::string& code) {
  if (!code.empty()) return client.Login(code);
  if (client.HasSecret()) return client.LoginBySecret();
  const std::string asked = AskForCode(client.config().operator_name);
  if (asked.empty()) return WrongUsage("there is no terminal to ask for the code on; say --code");
  return client.Login(asked);
}

Outcome Login(const Context& context, const std::string& code) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto session = LogIn(*client, code);
  if (!session) return session.error();
  Print(context, Greeting(session->operator_(), session->expire_time()),
        ToJson(session->operator_(), session->expire_time()));
  return ExitCode::kDone;
}

// Without a login first: there may be no session to end.
Outcome Logout(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto ended = client->CallOnce(&AdminClient::Operators::Logout, api::LogoutRequest());
  if (!ended && ended.error().reason != "LOGIN_REQUIRED") return ended.error();
  client->Forget();
  Print(context, "logged out\n", Json::Object().Set("logged_in", Json::Bool(false)));
  return ExitCode::kDone;
}

Outcome WhoAmI(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto me = client->Call(&AdminClient::Operators::WhoAmI, api::WhoAmIRequest());
  if (!me) return me.error();
  Print(context, Greeting(me->operator_(), me->session_expire_time()),
        ToJson(me->operator_(), me->session_expire_time()));
  return ExitCode::kDone;
}

}  // namespace

void AddSessionCommands(CLI::App& app, Context& context) {
  const auto code = std::make_shared<std::string>();
  CLI::App* login = AddCommand(app, context, "login", "Open a session with your authenticator's code",
                               "dkimctl login\ndkimctl login --code 123456\ndkimctl login --as officer2",
                               [&context, code] { return Login(context, *code); });
  login->add_option("--code", *code, "The code [asked for on the terminal]")->type_name("DIGITS");
  AddTimeout(*login, context);

  AddTimeout(
      *AddCommand(app, context, "logout", "End the session", "dkimctl logout", [&context] { return Logout(context); }),
      context);
  AddTimeout(*AddCommand(app, context, "whoami", "Show who is logged in, and for how long",
                         "dkimctl whoami\ndkimctl whoami --output json", [&context] { return WhoAmI(context); }),
             context);
}

}  // namespace hallmark::ctl
