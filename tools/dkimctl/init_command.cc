#include <cstdlib>

#include "firmware/runtime/program.h"
#include "tools/dkimctl/command.h"
#include "tools/dkimctl/deployment.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

struct Options {
  DeploymentPlan plan;
  std::string module;
  bool dry_run = false;
};

constexpr std::pair<const char*, const char*> kParts[] = {
    {"hallmark.toml", "what signerd reads"},
    {"dkimctl.toml", "where dkimctl finds signerd"},
    {"milter.toml", "what dkim-milter reads, for Postfix and Sendmail"},
    {"policy.toml", "who may sign what, for the first start"},
    {"secrets/", "PINs of the token, private keys of the CAs, TOTP secrets"},
    {"softhsm/", "the token itself, in place of a real one"},
    {"state/", "signerd's database"},
    {"tls/", "certificates: server; relay1; operator and officer2; and their CAs"},
};

std::string ShellQuote(const std::string& text) {
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") == std::string::npos)
    return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// How a shell finds one of our programs.
std::string CommandFor(const std::string& program) {
  const std::filesystem::path path = CompanionProgram(program);
  const char* folders = std::getenv("PATH");
  const std::string wanted = ":" + path.parent_path().string() + ":";
  const bool found = folders != nullptr && (":" + std::string(folders) + ":").find(wanted) != std::string::npos;
  return found ? program : ShellQuote(path.string());
}

std::vector<std::string> NextCommands(const std::filesystem::path& directory) {
  const std::string dkimctl = CommandFor("dkimctl");
  return {CommandFor("signerd") + " --config " + ShellQuote((directory / "hallmark.toml").string()) + " &",
          "export HALLMARK_DIR=" + ShellQuote(directory.string()),
          dkimctl + " operator enroll --secret-out \"$HALLMARK_DIR/secrets/operator.totp\"",
          dkimctl + " operator enroll --as officer2 --secret-out \"$HALLMARK_DIR/secrets/officer2.totp\"",
          dkimctl + " domain add example.com",
          dkimctl + " key generate example.com --activate",
          dkimctl + " sign message.eml"};
}

std::string Describe(const DeploymentPlan& plan, const std::string& serial, bool done) {
  Table facts;
  facts.Add({"folder:", plan.directory.string()});
  facts.Add({"signing on:", plan.signing_listen});
  facts.Add({"admin on:", plan.admin_listen});
  facts.Add({"module:", plan.module.string()});
  facts.Add({"token:", plan.token_label + (serial.empty() ? "" : ", serial " + serial)});
  Table parts;
  for (const auto& [name, what] : kParts) parts.Add({std::string("  ") + name, what});
  std::string text =
      (done ? "Made a trial set-up.\n\n" : "Would make a trial set-up.\n\n") + facts.Render() + "\n" + parts.Render();
  if (!done) return text;
  text += "\nNext:\n";
  for (const std::string& command : NextCommands(plan.directory)) text += "  " + command + "\n";
  return text;
}

Json ToJson(const DeploymentPlan& plan, const Deployment& deployment) {
  Json files = Json::Array();
  for (const std::string& file : deployment.files) files.Add(Json::Text(file));
  Json next = Json::Array();
  for (const std::string& command : NextCommands(plan.directory)) next.Add(Json::Text(command));
  return Json::Object()
      .Set("directory", Json::Text(plan.directory.string()))
      .Set("signing_listen", Json::Text(plan.signing_listen))
      .Set("admin_listen", Json::Text(plan.admin_listen))
      .Set("module", Json::Text(plan.module.string()))
      .Set("token",
           Json::Object().Set("label", Json::Text(plan.token_label)).Set("serial", Json::Text(deployment.token_serial)))
      .Set("files", std::move(files))
      .Set("next", std::move(next));
}

Outcome Init(const Context& context, Options options) {
  DeploymentPlan& plan = options.plan;
  plan.directory = context.Directory();
  std::error_code ignored;  // a path that cannot be made absolute is not found either
  plan.module = options.module.empty() ? FindSoftHsm() : std::filesystem::absolute(options.module, ignored);
  for (std::string* listen : {&plan.signing_listen, &plan.admin_listen}) {
    auto resolved = ResolveListen(*listen);
    if (!resolved) return resolved.error();
    *listen = std::move(*resolved);
  }
  if (plan.signing_listen == plan.admin_listen)
    return WrongUsage("--signing-listen and --admin-listen need ports of their own");
  if (options.dry_run) {
    if (const auto possible = CheckPlan(plan); !possible) return possible.error();
    Print(context, Describe(plan, "", false), ToJson(plan, {}).Set("dry_run", Json::Bool(true)));
    return ExitCode::kDone;
  }
  const auto deployment = MakeDeployment(plan);
  if (!deployment) return deployment.error();
  Print(context, Describe(plan, deployment->token_serial, true), ToJson(plan, *deployment));
  return ExitCode::kDone;
}

}  // namespace

void AddInitCommand(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* init = AddCommand(app, context, "init", "Make a trial set-up, with a token of its own",
                              "dkimctl init --dir /srv/hallmark\n"
                              "dkimctl init --dir /srv/hallmark --signing-listen 127.0.0.1:9461 \\\n"
                              "    --admin-listen 127.0.0.1:9462\n"
                              "dkimctl init --dir /srv/hallmark --dry-run",
                              [&context, options] { return Init(context, *options); });
  init->add_option("--signing-listen", options->plan.signing_listen, "For relays [127.0.0.1:8461]; 0: a free port")
      ->type_name("ADDR:PORT");
  init->add_option("--admin-listen", options->plan.admin_listen, "For operators [127.0.0.1:8462]")
      ->type_name("ADDR:PORT");
  init->add_option("--module", options->module, "PKCS#11 module [SoftHSM]")->type_name("FILE");
  init->add_option("--token-label", options->plan.token_label, "Label of the new token [hallmark]")
      ->type_name("TEXT")
      ->check([](const std::string& label) {
        return label.empty() || label.size() > 32 ? std::string("a label has 1 to 32 octets") : std::string();
      });
  init->add_option("--sessions", options->plan.sessions, "Sessions on the token [4]")
      ->type_name("N")
      ->check(CLI::Range(1, 256).description(""));
  init->add_flag("--dry-run", options->dry_run, "Say what would be made, and make nothing");
}

}  // namespace hallmark::ctl
