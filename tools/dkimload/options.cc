#include "tools/dkimload/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <map>

namespace hallmark::load {
namespace {

const std::map<std::string, Method> kMethods = {
    {"sign", Method::kSign}, {"stream", Method::kStream}, {"digest", Method::kDigest}};

// "signerd=123"
WatchedProcess ParseWatched(const std::string& text) {
  const std::size_t equals = text.find('=');
  WatchedProcess process;
  if (equals != std::string::npos) {
    process.name = text.substr(0, equals);
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + equals + 1, end, process.pid);
    if (error != std::errc() || stop != end) process.pid = 0;
  }
  if (process.name.empty() || process.pid <= 0) {
    throw CLI::ValidationError("--pid", "\"" + text + "\" is not NAME=PID, such as signerd=1234");
  }
  if (!ReadCpuTime(process.pid)) {
    throw CLI::ValidationError("--pid", text + ": there is no process " + std::to_string(process.pid));
  }
  return process;
}

void AddLoad(CLI::App& app, Options& options) {
  app.add_option("--rate", options.rate, "Open loop: messages a second, Poisson")
      ->type_name("R")
      ->check(CLI::Range(0.001, 1e6).description(""));
  app.add_option("--in-flight", options.in_flight, "Closed loop: N messages always in flight")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{1}, std::size_t{65536}).description(""));
  app.add_option("--seed", options.seed, "Of the arrivals: same seed, same instants [1]")->type_name("N");
  app.add_option("--duration", options.duration_seconds, "How long to measure [10]")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 86400.0).description(""));
  app.add_option("--warmup", options.warmup_seconds, "Load before that, not measured [1]")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 86400.0).description(""));
}

void AddCalls(CLI::App& app, Options& options) {
  app.add_option_function<std::string>(
         "--method", [&options](const std::string& name) { options.method = kMethods.at(name); },
         "sign (default), stream, digest")
      ->type_name("METHOD")
      ->check([](const std::string& name) {
        return kMethods.contains(name) ? "" : "\"" + name + "\" is no method; expected sign, stream or digest";
      });
  app.add_option("--domain", options.domain, "Signing domain [from the author's]")->type_name("DOMAIN");
  app.add_option("--connections", options.connections, "TCP connections, used in turn [1]")
      ->type_name("C")
      ->check(CLI::Range(std::size_t{1}, std::size_t{256}).description(""));
  app.add_option("--deadline", options.deadline_milliseconds, "Of each call; stream: after the end [10000]")
      ->type_name("MS")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{3'600'000}).description(""));
  app.add_flag("--check", options.check, "Read every answer: it must have a signature");
  app.add_option("--keep", options.keep, "What became of each message, and some of them")->type_name("FOLDER");
  app.add_flag("--allow-errors", options.allow_errors, "Failed messages do not fail the run");
}

}  // namespace

std::string NameOf(Method method) {
  for (const auto& [name, value] : kMethods) {
    if (value == method) return name;
  }
  return "";
}

void AddOptions(CLI::App& app, Options& options) {
  app.add_option("FILE", options.files, "Messages, sent in turn; folders are walked")->required()->type_name("FILE");
  app.add_option("--dir", options.directory, "Set-up [$HALLMARK_DIR or /etc/hallmark]")->type_name("DIR");
  app.add_option("--output", options.output, "table (for people) or json")
      ->type_name("FORMAT")
      ->check([](const std::string& value) {
        return value == "table" || value == "json" ? "" : "\"" + value + "\" is no format; expected table or json";
      });
  AddLoad(app, options);
  AddCalls(app, options);
  app.add_option_function<std::vector<std::string>>(
         "--pid",
         [&options](const std::vector<std::string>& all) {
           for (const std::string& text : all) options.watched.push_back(ParseWatched(text));
         },
         "Report what a process costs (repeat)")
      ->type_name("NAME=PID")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);  // else it would take the messages that follow it
  app.callback([&options] {
    if (options.open_loop() == (options.in_flight > 0)) {
      throw CLI::ValidationError("say either --rate (open loop) or --in-flight (closed loop)");
    }
    if (options.keep.empty()) return;
    if (options.method != Method::kSign) throw CLI::ValidationError("--keep is for --method sign");
    options.check = true;
  });
}

}  // namespace hallmark::load
