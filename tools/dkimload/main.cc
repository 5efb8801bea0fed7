#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "firmware/runtime/tls13.h"
#include "tools/dkimctl/command.h"
#include "tools/dkimload/kept.h"
#include "tools/dkimload/report.h"

namespace {

using hallmark::ctl::ExitCode;
using hallmark::load::Options;

constexpr char kDescription[] =
    "Loads a running signerd and measures it.\n"
    "\n"
    "Open loop (--rate): messages are due at random instants, whatever the server\n"
    "does, and latency counts from the instant at which a message was due; so time\n"
    "in queues is not hidden. Closed loop (--in-flight): the next message is sent\n"
    "when one has been answered, which finds the highest throughput.";
constexpr char kFooter[] =
    "Examples:\n"
    "  dkimload --dir /srv/hallmark --rate 200 --duration 60 message.eml\n"
    "  dkimload --in-flight 32 --method stream --connections 2 outbox\n"
    "  dkimload --rate 500 --pid signerd=$(pidof signerd) --output json outbox\n"
    "\n"
    "Exit codes: 0 done, 1 a message failed (see --allow-errors), 2 wrong usage,\n"
    "3 signerd cannot be reached.";

void Complain(std::string_view line) {
  const std::string text = "dkimload: " + hallmark::ctl::OneLine(line) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

hallmark::ctl::Outcome Load(const Options& options) {
  hallmark::ctl::Context context;
  context.directory = options.directory;
  const auto config = hallmark::ctl::LoadClientConfig(context.Directory());
  if (!config) return config.error();
  const auto requests = hallmark::load::PrepareRequests(options);
  if (!requests) return requests.error();
  const auto stubs = hallmark::load::Connect(config->signing, options);
  if (!stubs) return stubs.error();
  std::unique_ptr<hallmark::load::Kept> kept;
  if (!options.keep.empty()) {
    auto made = hallmark::load::Kept::In(options.keep);
    if (!made) return made.error();
    kept = std::move(*made);
  }
  const auto results = hallmark::load::RunLoad(options, *requests, *stubs, kept.get());
  const hallmark::load::ReportContext about{options, *requests, config->signing};
  hallmark::ctl::PrintOut(options.json() ? JsonReport(about, *results) : TableReport(about, *results));
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return hallmark::ctl::Failed("cannot write to standard output");
  }
  if (kept) {
    const auto written = kept->Close();
    if (!written) return written;
  }
  return results->tally.failed_so_far() == 0 || options.allow_errors ? ExitCode::kDone : ExitCode::kFailed;
}

int Run(int argc, char** argv) {
  if (const auto status = hallmark::RequireTls13(); !status) {
    Complain(status.error().message);
    return static_cast<int>(ExitCode::kFailed);
  }
  Options options;
  CLI::App app(kDescription, "dkimload");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.set_version_flag("--version", "dkimload " HALLMARK_VERSION, "Print the version and exit");
  try {  // CLI11 speaks in exceptions; they end here.
    hallmark::load::AddOptions(app, options);
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    Complain(std::string(error.what()) + "; see dkimload --help");
    return static_cast<int>(ExitCode::kUsage);
  }
  const auto outcome = Load(options);
  if (outcome) return static_cast<int>(*outcome);
  Complain(outcome.error().message);
  return static_cast<int>(outcome.error().code);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, which is reported
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // what the standard library throws: no memory, above all
    Complain(error.what());
    return static_cast<int>(ExitCode::kFailed);
  }
}
