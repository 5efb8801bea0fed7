#include <algorithm>
#include <chrono>
#include <ctime>

#include "signerd/dkim/author.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/dns_access.h"
#include "tools/dkimctl/table.h"
#include "tools/posture/dkim.h"
#include "tools/posture/suggest.h"

namespace hallmark::ctl {
namespace {

using Stub = AdminClient::Stub;

struct Options {
  std::string domain;
  std::string format = "zone";
  posture::SuggestRequest suggest;  // without domain, keys and id
  std::string nameserver;
  bool offline = false;
};

// A file of a policy keeps its lines; a sentence is wrapped.
std::string Comment(const std::string& text) {
  std::string lines;
  for (const std::string& line : Wrap(OneLine(text), Table::kColumns - 2)) lines += "; " + line + "\n";
  return lines;
}

// Where receivers ask for the record.
std::string OwnerOf(const admin::v1::DnsRecord& record, const std::string& domain) {
  // Without a selector there is nothing to tell an alias by.
  return record.selector().empty() ? record.name() : posture::SelectorName(record.selector(), domain);
}

std::string LineOf(const admin::v1::DnsRecord& record) {
  std::string line = record.zone_file_line();
  while (line.ends_with('\n')) line.pop_back();
  return line;
}

// The lines for the domain's own zone: an alias where the record is kept in another.
std::string ZoneLines(const admin::v1::DnsRecord& record, const std::string& owner) {
  if (record.name() == owner) return LineOf(record) + "\n";
  return Comment("The record of " + record.selector() +
                 " is kept in the zone that the alias leads to; where a DNAME does, leave the alias out:") +
         "; " + LineOf(record) + "\n" + posture::AliasLine(owner, record.name()) + "\n";
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::GetDnsRecordsRequest request;
  request.set_domain(options.domain);
  const auto answer = client->Call(&Stub::GetDnsRecords, request);
  if (!answer) return answer.error();
  // As the records have it: signerd takes it in any case, and in Unicode.
  const auto normalized = dkim::NormalizeDomain(options.domain);
  const std::string domain = normalized ? *normalized : options.domain;
  std::string text;
  for (const auto& record : answer->records()) {
    const std::string owner = OwnerOf(record, domain);
    text +=
        options.format == "zone" ? ZoneLines(record, owner) : owner + " " + record.type() + " " + record.value() + "\n";
  }
  if (text.empty() && !context.json())
    Complain(options.domain + " has no keys; make one with: dkimctl key generate " + options.domain);
  Print(context, text, Json::Message(*answer));
  return ExitCode::kDone;
}

// Adds the records of the keys that have one: not of those that were withdrawn. Where the domain delegates them, it has
// an alias.
Answer<void> AddKeyRecords(const Context& context, posture::SuggestRequest& suggest) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::GetDnsRecordsRequest request;
  request.set_domain(suggest.domain);
  const auto answer = client->Call(&Stub::GetDnsRecords, request);
  if (!answer) return answer.error();
  for (const auto& record : answer->records()) {
    if (record.state() == admin::v1::KEY_STATE_WITHDRAWN || record.state() == admin::v1::KEY_STATE_DESTROYED) continue;
    std::string line = LineOf(record);
    const std::string owner = OwnerOf(record, suggest.domain);
    const bool delegated = record.name() != owner;
    if (delegated) suggest.key_records.push_back(posture::AliasLine(owner, record.name()));
    (delegated ? suggest.kept_elsewhere : suggest.key_records).push_back(std::move(line));
  }
  return {};
}

// Letters and digits that grow with time: 20260131120000.
std::string PolicyId() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  char text[32];
  ::gmtime_r(&now, &utc);
  return std::string(text, std::strftime(text, sizeof text, "%Y%m%d%H%M%S", &utc));
}

std::string ZoneFile(const std::string& domain, const std::vector<posture::Section>& sections) {
  std::string text = Comment("What should be published for " + domain + " (dkimctl dns suggest). Other records stay.");
  for (const posture::Section& section : sections) {
    if (section.records.empty() && section.comments.empty() && section.later.empty()) continue;
    text += "\n; " + section.title + "\n";
    for (const std::string& comment : section.comments) text += Comment(comment);
    for (const std::string& line : section.later) text += "; " + line + "\n";
    for (const std::string& line : section.records) text += line + "\n";
  }
  return text;
}

Json Lines(const std::vector<std::string>& lines) {
  Json list = Json::Array();
  for (const std::string& line : lines) list.Add(Json::Text(line));
  return list;
}

Outcome Suggest(const Context& context, const Options& options) {
  auto domain = dkim::NormalizeDomain(options.domain);
  if (!domain) return WrongUsage(domain.error().message);
  posture::SuggestRequest request = options.suggest;
  request.domain = *domain;
  request.policy_id = PolicyId();
  const auto lookup = OpenLookup(options.nameserver);
  if (!lookup) return lookup.error();
  if (!options.offline) {
    if (const auto added = AddKeyRecords(context, request); !added) return added.error();
  }
  auto sections = posture::Suggest(request, *lookup);
  if (!sections && sections.error().reason == Reason::kInvalidArgument) return WrongUsage(sections.error().message);
  if (!sections) return FromError(sections.error());
  if (request.key_records.empty()) {
    sections->front().comments.push_back(
        options.offline ? "Left out: signerd was not asked for the keys (--offline)."
                        : "The domain has no keys; make one with: dkimctl key generate " + *domain);
  }
  Json parts = Json::Array();
  for (const posture::Section& section : *sections) {
    parts.Add(Json::Object()
                  .Set("title", Json::Text(section.title))
                  .Set("comments", Lines(section.comments))
                  .Set("records", Lines(section.records))
                  .Set("later", Lines(section.later)));
  }
  Print(context, ZoneFile(*domain, *sections),
        Json::Object().Set("domain", Json::Text(*domain)).Set("sections", std::move(parts)));
  return ExitCode::kDone;
}

void AddSuggestCommand(CLI::App& group, Context& context, const std::shared_ptr<Options>& options) {
  CLI::App* suggest = AddCommand(group, context, "suggest", "Write the whole set that should be published",
                                 "dkimctl dns suggest example.com > example.com.zone\n"
                                 "dkimctl dns suggest example.com --relay 192.0.2.1 --relay 192.0.2.2\n"
                                 "dkimctl dns suggest example.com --bimi-svg https://example.com/mark.svg\n"
                                 "dkimctl dns suggest example.com --output json",
                                 [&context, options] { return Suggest(context, *options); });
  posture::SuggestRequest& request = options->suggest;
  suggest->add_option("DOMAIN", options->domain, "The domain that mail is sent from")->required()->type_name("");
  suggest->add_option("--relay", request.relays, "Mail leaves from this address or network")
      ->type_name("IP")
      ->take_all()
      ->allow_extra_args(false);
  suggest->add_option("--mx", request.mx, "Takes mail for the domain [its MX]")
      ->type_name("HOST")
      ->take_all()
      ->allow_extra_args(false);
  suggest->add_option("--report-address", request.report_address, "For reports [dmarc-reports@DOMAIN]")
      ->type_name("ADDR");
  suggest->add_option("--bimi-svg", request.bimi_svg, "The brand mark, as SVG Tiny PS")->type_name("URL");
  suggest->add_option("--bimi-cert", request.bimi_certificate, "Its mark certificate, as PEM")->type_name("URL");
  suggest->add_flag("--offline", options->offline, "Do not ask signerd: leave the keys out");
  AddNameserver(*suggest, options->nameserver);
  AddTimeout(*suggest, context);
}

std::string CheckFormat(const std::string& format) {
  if (format == "zone" || format == "keyfile") return "";
  return "\"" + format + "\" is no format; expected zone or keyfile";
}

}  // namespace

void AddDnsCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "dns", "DNS records of domains and keys",
                             "dkimctl dns show example.com\ndkimctl dns suggest example.com");
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
  AddSuggestCommand(*group, context, options);
}

}  // namespace hallmark::ctl
