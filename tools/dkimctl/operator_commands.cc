#include <chrono>
#include <filesystem>
#include <iostream>

#include "signerd/operators/totp.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/new_file.h"
#include "tools/dkimctl/qr_code.h"
#include "tools/dkimctl/session_file.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
namespace fs = std::filesystem;
using Stub = AdminClient::Operators;

constexpr int kTries = 3;

struct Options {
  std::string name, identity, role = "operator", secret_out;
  bool removed = false, yes = false;
};

Answer<api::Session> Finish(AdminClient& client, const std::string& code) {
  api::FinishEnrollmentRequest request;
  request.set_code(code);
  return client.CallOnce(&Stub::FinishEnrollment, request);
}

// Whether signerd said no, and did nothing: not where its answer was lost, nor where it failed half way.
bool IsRefusal(const Failure& failure) {
  return !failure.reason.empty() && failure.code != ExitCode::kUnavailable && failure.reason != "DEADLINE_EXCEEDED" &&
         failure.reason != "STORAGE_FAILED" && failure.reason != "INTERNAL";
}

// The secret goes to a file, from which dkimctl makes the codes itself.
Answer<api::Session> FinishWithFile(AdminClient& client, const std::string& uri, const fs::path& file) {
  const auto secret = totp::SecretOf(uri);
  if (!secret) return FromError(secret.error());
  // Before signerd takes it: an enrolled operator whose secret nobody has could only be reset.
  NewFile kept(file);  // what came there meanwhile is the secret of another run
  auto written = kept.Begin();
  if (written) written = kept.Write(totp::Base32(*secret) + "\n");
  if (written) written = kept.Keep();
  if (!written) return written.error();
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  auto session = Finish(client, totp::CodeAt(*secret, totp::StepAt(now)));
  if (session) return session;
  Failure failure = session.error();
  if (IsRefusal(failure)) {
    kept.TakeBack();
  } else {
    failure.message += "; you may be enrolled, so the secret stays in " + file.string() +
                       ": try dkimctl login; where that is refused, remove the file and enrol again";
  }
  return failure;
}

Answer<api::Session> FinishOnTerminal(AdminClient& client, const api::BeginEnrollmentResponse& begun) {
  const auto drawn = QrCode(begun.otpauth_uri());
  if (!drawn) return drawn.error();
  std::cerr << *drawn << "Take this with your authenticator, or enter it by hand:\n" << begun.otpauth_uri() << "\n";
  Answer<api::Session> session = Failed("no code was given");
  for (int tries = 0; tries < kTries; ++tries) {
    const std::string code = AskForCode(begun.name());
    if (code.empty()) return Failed("no code was given; " + begun.name() + " is not enrolled");
    session = Finish(client, code);
    if (session || session.error().reason != "LOGIN_REFUSED") return session;
    Complain(session.error().message);
  }
  return session;
}

Outcome Enroll(const Context& context, const Options& options) {
  std::error_code ignored;
  if (!options.secret_out.empty() && fs::exists(options.secret_out, ignored)) {
    return Failed(options.secret_out + " exists already; remove it first when its secret is of no use any more");
  }
  if (options.secret_out.empty() && !HasTerminal()) {
    return WrongUsage("there is no terminal to show the secret on; say --secret-out");
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::BeginEnrollmentRequest request;
  request.set_name(options.name);
  const auto begun = client->CallOnce(&Stub::BeginEnrollment, request);
  if (!begun) return begun.error();
  const auto session = options.secret_out.empty() ? FinishOnTerminal(*client, *begun)
                                                  : FinishWithFile(*client, begun->otpauth_uri(), options.secret_out);
  if (!session) return session.error();
  if (const auto kept = client->Keep(*session); !kept) Complain(kept.error().message);
  const api::Operator& who = session->operator_();
  Print(context, who.name() + " is enrolled as " + NameOf(who.role()) + ", and logged in\n", Json::Message(who));
  return ExitCode::kDone;
}

Outcome PrintOperators(const Context& context, const google::protobuf::RepeatedPtrField<api::Operator>& operators) {
  Table table({"NAME", "ROLE", "STATE", "IDENTITY", "LOCKED UNTIL"});
  Json list = Json::Array();
  for (const auto& row : operators) {
    table.Add({row.name(), NameOf(row.role()), NameOf(row.state()), row.identity(),
               row.has_locked_until() ? TimeText(row.locked_until()) : ""});
    list.Add(Json::Message(row));
  }
  Print(context, table.Render(), Json::Object().Set("operators", std::move(list)));
  return ExitCode::kDone;
}

Outcome PrintDone(const Context& context, const std::string& what, const Answer<api::Operator>& row) {
  if (!row) return row.error();
  Print(context, row->name() + " " + what + "\n", Json::Message(*row));
  return ExitCode::kDone;
}

Outcome List(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::ListOperatorsRequest request;
  request.set_removed(options.removed);
  const auto answer = client->Call(&Stub::ListOperators, request);
  if (!answer) return answer.error();
  return PrintOperators(context, answer->operators());
}

Outcome Add(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::CreateOperatorRequest request;
  request.set_name(options.name);
  request.set_identity(options.identity);
  request.set_role(*RoleByName(options.role));
  return PrintDone(context, "is added, and has to enrol", client->Call(&Stub::CreateOperator, request));
}

Outcome Remove(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (!options.yes && !Confirm("Remove " + options.name + " for good?")) {
    return Failed("this cannot be undone, and the name is not used again; say --yes");
  }
  api::RemoveOperatorRequest request;
  request.set_name(options.name);
  return PrintDone(context, "is removed", client->Call(&Stub::RemoveOperator, request));
}

Outcome Reset(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  api::ResetOperatorRequest request;
  request.set_name(options.name);
  return PrintDone(context, "has to enrol again", client->Call(&Stub::ResetOperator, request));
}

using Shared = std::shared_ptr<Options>;

void AddName(CLI::App& command, Context& context, Options& options) {
  command.add_option("NAME", options.name, "The operator's name")->required()->type_name("");
  AddTimeout(command, context);
}

void AddEnroll(CLI::App& group, Context& context, const Shared& options) {
  CLI::App* enroll = AddCommand(group, context, "enroll", "Get your second factor, and a session",
                                "dkimctl operator enroll\n"
                                "dkimctl operator enroll --name alice\n"
                                "dkimctl operator enroll --secret-out secrets/operator.totp",
                                [&context, options] { return Enroll(context, *options); });
  enroll->add_option("--name", options->name, "A first officer's name [from the certificate]")->type_name("NAME");
  enroll->add_option("--secret-out", options->secret_out, "Put the secret into this file; show no QR code")
      ->type_name("FILE");
  AddTimeout(*enroll, context);
}

}  // namespace

void AddOperatorCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "operator", "Operators: enrolled, added and removed",
                             "dkimctl operator enroll\ndkimctl operator list\n"
                             "dkimctl operator add bob uri:example:operator:bob --role auditor");
  const auto options = std::make_shared<Options>();
  AddEnroll(*group, context, options);

  CLI::App* list = AddCommand(*group, context, "list", "List operators",
                              "dkimctl operator list\ndkimctl operator list --removed --output json",
                              [&context, options] { return List(context, *options); });
  list->add_flag("--removed", options->removed, "Also those who were removed");
  AddTimeout(*list, context);

  CLI::App* add = AddCommand(*group, context, "add", "Add an operator; needs a second officer",
                             "dkimctl operator add bob uri:example:operator:bob\n"
                             "dkimctl operator add eve dns:eve.example.com --role auditor",
                             [&context, options] { return Add(context, *options); });
  AddName(*add, context, *options);
  add->add_option("IDENTITY", options->identity, "dns:NAME or uri:URI, as in the certificate")
      ->required()
      ->type_name("");
  add->add_option("--role", options->role, "auditor, operator or officer [operator]")
      ->type_name("ROLE")
      ->check([](const std::string& role) {
        return RoleByName(role) ? "" : "\"" + role + "\" is no role; expected auditor, operator or officer";
      });

  CLI::App* remove = AddCommand(*group, context, "remove", "Remove an operator for good",
                                "dkimctl operator remove bob\ndkimctl operator remove bob --yes",
                                [&context, options] { return Remove(context, *options); });
  AddName(*remove, context, *options);
  remove->add_flag("--yes", options->yes, "Do not ask");

  CLI::App* reset = AddCommand(*group, context, "reset", "Have one enrol again; needs a second officer",
                               "dkimctl operator reset bob", [&context, options] { return Reset(context, *options); });
  AddName(*reset, context, *options);
}

}  // namespace hallmark::ctl
