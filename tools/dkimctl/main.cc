#include <csignal>
#include <cstdio>

#include "firmware/runtime/tls13.h"
#include "tools/dkimctl/command.h"

namespace {

using hallmark::ctl::Context;
using hallmark::ctl::ExitCode;

constexpr char kDescription[] = "Operates Hallmark, the DKIM signing appliance.";
constexpr char kFooter[] =
    "Examples:\n"
    "  dkimctl init --dir /srv/hallmark\n"
    "  dkimctl --dir /srv/hallmark domain add example.com\n"
    "  dkimctl --dir /srv/hallmark key generate example.com --activate\n"
    "  dkimctl --dir /srv/hallmark sign message.eml > signed.eml\n"
    "\n"
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 signerd cannot be\n"
    "reached, 4 (verify) a signature did not verify or there is none, (explain) the\n"
    "message would be refused, (ledger verify) the ledger is not whole, (backup) the\n"
    "backup is not, 5 the request waits for the approval of a second person, 6\n"
    "(posture) something is wrong with what is published.";

// What is wrong with the command line, and where to read more.
std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  std::string name = "dkimctl";  // as far as the command line was understood: "dkimctl key generate"
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().back();
    name += " " + at->get_name();
  }
  const std::vector<std::string> rest = at->remaining();
  const bool unknown = !rest.empty() && !rest.front().starts_with('-') && at->get_require_subcommand_min() > 0;
  return (unknown ? "\"" + rest.front() + "\" is no command" : std::string(error.what())) + "; see " + name + " --help";
}

int End(ExitCode code) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    hallmark::ctl::Complain("cannot write to standard output");
    return static_cast<int>(ExitCode::kFailed);
  }
  return static_cast<int>(code);
}

int Run(int argc, char** argv) {
  if (const auto status = hallmark::RequireTls13(); !status) {
    hallmark::ctl::Complain(status.error().message);
    return static_cast<int>(ExitCode::kFailed);
  }
  Context context;
  CLI::App app(kDescription, "dkimctl");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "dkimctl " HALLMARK_VERSION, "Print the version and exit");
  app.add_option("--dir", context.directory, "Set-up [$HALLMARK_DIR or /etc/hallmark]")->type_name("DIR");
  app.add_option("--as", context.as, "Another operator of the set-up: tls/NAME.pem")->type_name("NAME");
  hallmark::ctl::AddInitCommand(app, context);
  hallmark::ctl::AddDomainCommands(app, context);
  hallmark::ctl::AddProfileCommands(app, context);
  hallmark::ctl::AddKeyCommands(app, context);
  hallmark::ctl::AddDnsCommands(app, context);
  hallmark::ctl::AddPostureCommand(app, context);
  hallmark::ctl::AddSignCommand(app, context);
  hallmark::ctl::AddVerifyCommand(app, context);
  hallmark::ctl::AddPolicyCommands(app, context);
  hallmark::ctl::AddPartnerCommands(app, context);
  hallmark::ctl::AddRelayCommands(app, context);
  hallmark::ctl::AddImportCommands(app, context);
  hallmark::ctl::AddExplainCommand(app, context);
  hallmark::ctl::AddCertificateCommands(app, context);
  hallmark::ctl::AddLedgerCommands(app, context);
  hallmark::ctl::AddAlertCommands(app, context);
  hallmark::ctl::AddBackupCommands(app, context);
  hallmark::ctl::AddFactoryResetCommand(app, context);
  hallmark::ctl::AddStatusCommand(app, context);
  hallmark::ctl::AddSessionCommands(app, context);
  hallmark::ctl::AddOperatorCommands(app, context);
  hallmark::ctl::AddApprovalCommands(app, context);
  try {  // CLI11 speaks in exceptions; they end here.
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    app.exit(wanted);
    return End(ExitCode::kDone);
  } catch (const CLI::ParseError& error) {
    hallmark::ctl::Complain(Explain(app, error));
    return static_cast<int>(ExitCode::kUsage);
  }
  const auto outcome = context.run();
  if (outcome) return End(*outcome);
  hallmark::ctl::Complain(outcome.error().message);
  return static_cast<int>(outcome.error().code);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, which is reported
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // what the standard library throws: no memory, above all
    hallmark::ctl::Complain(error.what());
    return static_cast<int>(ExitCode::kFailed);
  }
}
