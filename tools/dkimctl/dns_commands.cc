#include "tools/dkimctl/client.h"

namespace hallmark::ctl {
namespace {

using Stub = AdminClient::Stub;

struct Options {
  std::string domain;
  std::string format = "zone";
};

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::GetDnsRecordsRequest request;
  request.set_domain(options.domain);
  const auto answer = client->Call(&Stub::GetDnsRecords, request);
  if (!answer) return answer.error();
  std::string text;
  for (const auto& record : answer->records()) {
    text +=
        options.format == "zone" ? record.zone_file_line() : record.name() + " " + record.type() + " " + record.value();
    if (!text.ends_with('\n')) text += '\n';
  }
  if (text.empty() && !context.json())
    Complain(options.domain + " has no keys; make one with: dkimctl key generate " + options.domain);
  Print(context, text, Json::Message(*answer));
  return ExitCode::kDone;
}

std::string CheckFormat(const std::string& format) {
  if (format == "zone" || format == "keyfile") return "";
  return "\"" + format + "\" is no format; expected zone or keyfile";
}

}  // namespace

void AddDnsCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "dns", "DNS records of the keys", "dkimctl dns show example.com");
  const auto options = std::make_shared<Options>();
  CLI::App* show = AddCommand(*group, context, "show", "Print the records that a domain needs",
                              "dkimctl dns show example.com >> example.com.zone\n"
                              "dkimctl dns show example.com --format keyfile > keys.txt\n"
                              "dkimctl dns show example.com --output json",
                              [&context, options] { return Show(context, *options); });
  show->add_option("DOMAIN", options->domain, "The signing domain")->required()->type_name("");
  show->add_option("--format", options->format, "zone (default) or keyfile (NAME TXT VALUE)")
      ->type_name("FORMAT")
      ->check(CheckFormat);
  AddTimeout(*show, context);
}

}  // namespace hallmark::ctl
