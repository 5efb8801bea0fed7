#include "tools/dkimctl/command.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace hallmark::ctl {
namespace {

std::string WithHeading(const std::string& examples) {
  std::string text = "Examples:\n";
  std::size_t at = 0;
  while (at < examples.size()) {
    const std::size_t end = std::min(examples.find('\n', at), examples.size());
    text += "  " + examples.substr(at, end - at) + "\n";
    at = end + 1;
  }
  text.pop_back();
  return text;
}

}  // namespace

std::filesystem::path Context::Directory() const {
  std::string chosen = directory;
  if (chosen.empty()) {
    const char* from_environment = std::getenv("HALLMARK_DIR");
    chosen = from_environment != nullptr && *from_environment != '\0' ? from_environment : "/etc/hallmark";
  }
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(chosen, ignored).lexically_normal();
  return path.has_filename() ? path : path.parent_path();  // without the final slash
}

CLI::App* AddCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& description,
                     const std::string& examples, std::function<Outcome()> run) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->footer(WithHeading(examples));
  command->add_option("--dir", context.directory, "Set-up [$HALLMARK_DIR or /etc/hallmark]")->type_name("DIR");
  command->add_option("--output", context.output, "table (for people) or json")
      ->type_name("FORMAT")
      ->check([](const std::string& value) {
        return value == "table" || value == "json" ? "" : "\"" + value + "\" is no format; expected table or json";
      });
  command->callback([&context, run = std::move(run)] { context.run = run; });
  return command;
}

CLI::App* AddGroup(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& examples) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->footer(WithHeading(examples));
  group->require_subcommand(1);
  return group;
}

void AddTimeout(CLI::App& command, Context& context) {
  command.add_option("--timeout", context.timeout_seconds, "How long a call may take [60]")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 86400.0).description(""));
  AddAs(command, context);
}

void AddAs(CLI::App& command, Context& context) {
  command.add_option("--as", context.as, "Another operator of the set-up: tls/NAME.pem")->type_name("NAME");
}

void Print(const Context& context, const std::string& text, const Json& json) {
  PrintOut(context.json() ? json.Dump() : text);
}

void PrintOut(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Complain(std::string_view line) {
  const std::string text = "dkimctl: " + OneLine(line) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

bool Confirm(const std::string& question) {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return false;
  std::cerr << OneLine(question) << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace hallmark::ctl
