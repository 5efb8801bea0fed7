#include <algorithm>

#include "signerd/dkim/author.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/dns_access.h"
#include "tools/dkimctl/posture_subject.h"
#include "tools/dkimctl/table.h"
#include "tools/posture/kinds.h"

namespace hallmark::ctl {
namespace {

using posture::Finding;
using posture::Report;
using posture::Severity;
namespace kinds = posture::kinds;

struct Options {
  std::vector<std::string> domains, selectors;
  std::string nameserver;
  std::string fail_on = "error";
  bool offline = false;
};

struct Judged {
  std::string domain;
  bool compared = false;  // with signerd's keys
  Report report;

  std::size_t Count(Severity severity) const {
    const auto& all = report.findings();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const Finding& finding) { return finding.kind->severity == severity; }));
  }
  bool Reaches(Severity severity) const {
    const auto& all = report.findings();
    return std::any_of(all.begin(), all.end(), [&](const Finding& finding) {
      return finding.kind->severity >= severity && finding.kind->id != kinds::kDnsNoAnswer.id;
    });
  }
};

// The report of one domain.
Judged Judge(const Options& options, const std::string& domain, Answer<AdminClient>& client,
             const posture::Lookup& lookup) {
  Judged judged;
  judged.domain = domain;
  posture::Subject subject{domain, {}, "", {}};
  for (const std::string& selector : options.selectors)
    subject.selectors.push_back({selector, posture::KeyUse::kNamed, {}, ""});
  if (options.offline) {
    judged.report.Add(kinds::kKeysNotCompared, domain, "signerd was not asked (--offline)");
  } else {
    const auto asked = client ? AskSignerd(*client, subject, judged.report) : Answer<void>(client.error());
    judged.compared = asked.has_value();
    if (!asked)
      judged.report.Add(kinds::kSignerdUnavailable, domain, "signerd could not be asked: " + asked.error().message);
  }
  if (subject.selectors.empty())
    judged.report.Add(kinds::kDkimNoSelector, domain, "no selector is known, so no key record was looked at");
  posture::CheckDomain(subject, lookup, judged.report);
  return judged;
}

Json ToJson(const Judged& judged) {
  Json findings = Json::Array();
  for (const Finding& finding : judged.report.findings()) {
    Json publish = Json::Array();
    for (const std::string& line : finding.publish) publish.Add(Json::Text(line));
    findings.Add(Json::Object()
                     .Set("id", Json::Text(finding.kind->id))
                     .Set("severity", Json::Text(posture::SeverityName(finding.kind->severity)))
                     .Set("name", Json::Text(finding.name))
                     .Set("what", Json::Text(finding.what))
                     .Set("why", Json::Text(finding.kind->why))
                     .Set("publish", std::move(publish)));
  }
  const auto count = [&](Severity severity) { return Json::Number(static_cast<std::int64_t>(judged.Count(severity))); };
  return Json::Object()
      .Set("domain", Json::Text(judged.domain))
      .Set("compared_with_keys", Json::Bool(judged.compared))
      .Set("errors", count(Severity::kError))
      .Set("warnings", count(Severity::kWarning))
      .Set("notes", count(Severity::kNote))
      .Set("findings", std::move(findings));
}

std::string Indented(const std::string& text, std::size_t indent) {
  std::string lines;
  for (const std::string& line : Wrap(OneLine(text), Table::kColumns - indent))
    lines += std::string(indent, ' ') + line + "\n";
  return lines;
}

// The worst first. Records to publish stand alone on their line, however long, so that they can be copied.
std::string ToText(const Judged& judged) {
  std::string text = judged.domain + ": " + posture::Count(judged.Count(Severity::kError), "error") + ", " +
                     posture::Count(judged.Count(Severity::kWarning), "warning") + ", " +
                     posture::Count(judged.Count(Severity::kNote), "note") + "\n";
  for (const Severity severity : {Severity::kError, Severity::kWarning, Severity::kNote}) {
    for (const Finding& finding : judged.report.findings()) {
      if (finding.kind->severity != severity) continue;
      text += "\n" + Indented(std::string(posture::SeverityName(severity)) + " " + std::string(finding.kind->id) + " " +
                                  finding.name,
                              0);
      text += Indented(finding.what, 2) + Indented(std::string(finding.kind->why), 2);
      if (!finding.publish.empty()) text += "  Publish:\n";
      for (const std::string& line : finding.publish) text += "    " + OneLine(line) + "\n";
    }
  }
  return text;
}

Answer<std::vector<std::string>> Domains(const Options& options) {
  std::vector<std::string> domains;
  for (const std::string& name : options.domains) {
    auto domain = dkim::NormalizeDomain(name);
    if (!domain) return WrongUsage(domain.error().message);
    domains.push_back(std::move(*domain));
  }
  for (const std::string& selector : options.selectors) {
    if (const auto status = dkim::ValidateSelector(selector); !status)
      return WrongUsage("--selector: " + status.error().message);
  }
  return domains;
}

Outcome Posture(const Context& context, const Options& options) {
  const auto domains = Domains(options);
  if (!domains) return domains.error();
  const auto opened = OpenLookup(options.nameserver);
  if (!opened) return opened.error();
  const posture::Lookup lookup = posture::Remembering(*opened);
  auto client = options.offline ? Answer<AdminClient>(Failed("not asked")) : AdminClient::Open(context);
  const Severity least = options.fail_on == "error" ? Severity::kError : Severity::kWarning;
  std::string text;
  Json list = Json::Array();
  bool wrong = false, unanswered = false;
  for (const std::string& domain : *domains) {
    const Judged judged = Judge(options, domain, client, lookup);
    wrong = wrong || judged.Reaches(least);
    unanswered = unanswered || judged.report.Has(kinds::kDnsNoAnswer);
    text += (text.empty() ? "" : "\n\n") + ToText(judged);
    if (context.json()) list.Add(ToJson(judged));
  }
  Print(context, text, Json::Object().Set("domains", std::move(list)));
  if (wrong) return ExitCode::kFindings;
  return unanswered ? ExitCode::kFailed : ExitCode::kDone;
}

std::string CheckFailOn(const std::string& severity) {
  if (severity == "error" || severity == "warning") return "";
  return "\"" + severity + "\" is no severity to fail on; expected error or warning";
}

}  // namespace

void AddPostureCommand(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* posture = AddCommand(app, context, "posture", "Judge DKIM, SPF, DMARC and others in the DNS",
                                 "dkimctl posture example.com\n"
                                 "dkimctl posture example.com example.net --fail-on warning\n"
                                 "dkimctl posture example.com --offline --selector r20260131 --output json",
                                 [&context, options] { return Posture(context, *options); });
  posture->add_option("DOMAIN", options->domains, "Domains that mail is sent from")->required()->type_name("");
  posture->add_option("--selector", options->selectors, "Also look at this selector (s=)")
      ->type_name("NAME")
      ->take_all()
      ->allow_extra_args(false);
  posture->add_option("--fail-on", options->fail_on, "End with 6 from: error (default) or warning")
      ->type_name("SEVERITY")
      ->check(CheckFailOn);
  posture->add_flag("--offline", options->offline, "Do not ask signerd for the keys");
  AddNameserver(*posture, options->nameserver);
  AddTimeout(*posture, context);
}

}  // namespace hallmark::ctl
