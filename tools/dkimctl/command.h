#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <string>

#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/json.h"

namespace hallmark::ctl {

// What every command is given: the options that all have, and the one command that the command line names.
struct Context {
  std::string directory;  // --dir; empty: from the environment, else /etc/hallmark
  std::string as;         // --as; empty: the operator of dkimctl.toml
  std::string output = "table";
  double timeout_seconds = 60;
  std::function<Outcome()> run;

  bool json() const { return output == "json"; }
  // The folder of the set-up, absolute.
  std::filesystem::path Directory() const;
};

// Adds a command with the common options (--dir, --output) and its examples, one a line, below its help text. `run` is
// called once the whole command line was understood.
CLI::App* AddCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& description,
                     const std::string& examples, std::function<Outcome()> run);
// Adds a command that only has commands of its own.
CLI::App* AddGroup(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& examples);
// Adds --timeout, and --as, for commands that ask signerd.
void AddTimeout(CLI::App& command, Context& context);
// Adds --as alone: for a call that takes as long as it takes.
void AddAs(CLI::App& command, Context& context);

// Writes `text`, or `json` under --output json, to standard output.
void Print(const Context& context, const std::string& text, const Json& json);
void PrintOut(std::string_view text);
// "dkimctl: ..." to standard error, as one line.
void Complain(std::string_view line);

// Asks on the terminal; false when there is none or the answer is not yes.
bool Confirm(const std::string& question);

// One for each group of commands.
void AddInitCommand(CLI::App& app, Context& context);
void AddDomainCommands(CLI::App& app, Context& context);
void AddProfileCommands(CLI::App& app, Context& context);
void AddKeyCommands(CLI::App& app, Context& context);
// Within the group "key".
void AddRotationCommands(CLI::App& group, Context& context);
void AddReplaceMissingCommand(CLI::App& group, Context& context);
void AddDnsCommands(CLI::App& app, Context& context);
void AddPostureCommand(CLI::App& app, Context& context);
void AddSignCommand(CLI::App& app, Context& context);
void AddVerifyCommand(CLI::App& app, Context& context);
void AddPolicyCommands(CLI::App& app, Context& context);
void AddPartnerCommands(CLI::App& app, Context& context);
void AddRelayCommands(CLI::App& app, Context& context);
void AddImportCommands(CLI::App& app, Context& context);
void AddExplainCommand(CLI::App& app, Context& context);
void AddCertificateCommands(CLI::App& app, Context& context);
void AddLedgerCommands(CLI::App& app, Context& context);
void AddAlertCommands(CLI::App& app, Context& context);
void AddBackupCommands(CLI::App& app, Context& context);
void AddFactoryResetCommand(CLI::App& app, Context& context);
void AddStatusCommand(CLI::App& app, Context& context);
void AddSessionCommands(CLI::App& app, Context& context);
void AddOperatorCommands(CLI::App& app, Context& context);
void AddApprovalCommands(CLI::App& app, Context& context);

}  // namespace hallmark::ctl
