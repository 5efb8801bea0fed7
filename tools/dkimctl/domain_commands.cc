#include "signerd/dkim/author.h"
#include "signerd/dkim/signature.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = AdminClient::Stub;

struct Options {
  std::string name, profile;
  bool dry_run = false;
};

std::string DomainFacts(const admin::v1::Domain& domain) {
  Table table;
  table.Add({"domain:", domain.name()});
  table.Add({"profile:", domain.profile()});
  table.Add({"active keys:", std::to_string(domain.active_key_count())});
  table.Add({"created:", TimeText(domain.create_time())});
  return table.Render();
}

// What the server would refuse, as far as that can be seen without changing anything.
Outcome TryAdd(const Context& context, AdminClient& client, const Options& options) {
  admin::v1::GetDomainRequest existing;
  existing.set_name(options.name);
  if (const auto found = client.Call(&Stub::GetDomain, existing); found) {
    return Failed("ALREADY_EXISTS: the domain " + found->name() + " exists already; see it with: dkimctl domain show " +
                  found->name());
  } else if (found.error().reason != "NOT_FOUND") {
    return found.error();
  }
  if (!options.profile.empty()) {
    admin::v1::GetSigningProfileRequest profile;
    profile.set_name(options.profile);
    const auto found = client.Call(&Stub::GetSigningProfile, profile);
    if (!found) return found.error();
    const auto name = dkim::NormalizeDomain(options.name);
    if (!name) return FromError(name.error());
    dkim::SigningProfile auid_alone;
    auid_alone.auid = found->auid();
    const Status fits = dkim::CheckAuidFor(auid_alone, *name);
    if (!fits) return Failed(std::string(ReasonName(fits.error().reason)) + ": " + fits.error().message);
  }
  const std::string profile = options.profile.empty() ? "default" : options.profile;
  Print(context, "would add the domain " + options.name + " with the profile " + profile + "\n",
        Json::Object()
            .Set("dry_run", Json::Bool(true))
            .Set("name", Json::Text(options.name))
            .Set("profile", Json::Text(profile)));
  return ExitCode::kDone;
}

Outcome Add(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (options.dry_run) return TryAdd(context, *client, options);
  admin::v1::CreateDomainRequest request;
  request.set_name(options.name);
  request.set_profile(options.profile);
  const auto domain = client->Call(&Stub::CreateDomain, request);
  if (!domain) return domain.error();
  Print(context, DomainFacts(*domain) + "\nIt signs nothing yet. Next: dkimctl key generate " + domain->name() + "\n",
        Json::Message(*domain));
  return ExitCode::kDone;
}

Outcome List(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->ListDomains();
  if (!answer) return answer.error();
  Table table({"DOMAIN", "PROFILE", "ACTIVE KEYS", "CREATED"});
  for (const auto& domain : answer->domains()) {
    table.Add(
        {domain.name(), domain.profile(), std::to_string(domain.active_key_count()), TimeText(domain.create_time())});
  }
  Print(context, table.empty() ? "no domains; add one with: dkimctl domain add DOMAIN\n" : table.Render(),
        Json::Message(*answer));
  return ExitCode::kDone;
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::GetDomainRequest request;
  request.set_name(options.name);
  const auto domain = client->Call(&Stub::GetDomain, request);
  if (!domain) return domain.error();
  const auto keys = client->ListKeys(domain->name());
  if (!keys) return keys.error();
  Table table({"SELECTOR", "ALGORITHM", "STATE", "TOKEN", "SINCE"});
  Json list = Json::Array();
  for (const auto& key : keys->keys()) {
    table.Add({key.selector(), NameOf(key.algorithm()), NameOf(key.state()), key.token(), TimeText(key.state_time())});
    list.Add(Json::Message(key));
  }
  Print(context, DomainFacts(*domain) + (table.empty() ? "" : "\n" + table.Render()),
        Json::Object().Set("domain", Json::Message(*domain)).Set("keys", std::move(list)));
  return ExitCode::kDone;
}

Outcome SetProfile(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::UpdateDomainRequest request;
  request.set_name(options.name);
  request.set_profile(options.profile);
  const auto domain = client->Call(&Stub::UpdateDomain, request);
  if (!domain) return domain.error();
  Print(context, DomainFacts(*domain), Json::Message(*domain));
  return ExitCode::kDone;
}

}  // namespace

void AddDomainCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "domain", "Signing domains (d=)",
                             "dkimctl domain add example.com\ndkimctl domain list\ndkimctl domain show example.com");
  const auto options = std::make_shared<Options>();

  CLI::App* add = AddCommand(*group, context, "add", "Add a signing domain",
                             "dkimctl domain add example.com\n"
                             "dkimctl domain add example.com --profile strict\n"
                             "dkimctl domain add example.com --dry-run",
                             [&context, options] { return Add(context, *options); });
  add->add_option("DOMAIN", options->name, "The domain, as it is read or as an A-label")->required()->type_name("");
  add->add_option("--profile", options->profile, "Its signing profile [default]")->type_name("NAME");
  add->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");
  AddTimeout(*add, context);

  CLI::App* list =
      AddCommand(*group, context, "list", "List the signing domains",
                 "dkimctl domain list\ndkimctl domain list --output json", [&context] { return List(context); });
  AddTimeout(*list, context);

  CLI::App* show =
      AddCommand(*group, context, "show", "Show one domain and its keys", "dkimctl domain show example.com",
                 [&context, options] { return Show(context, *options); });
  show->add_option("DOMAIN", options->name, "The domain")->required()->type_name("");
  AddTimeout(*show, context);

  CLI::App* set = AddCommand(*group, context, "set-profile", "Sign a domain by another profile",
                             "dkimctl domain set-profile example.com strict",
                             [&context, options] { return SetProfile(context, *options); });
  set->add_option("DOMAIN", options->name, "The domain")->required()->type_name("");
  set->add_option("PROFILE", options->profile, "The profile's name")->required()->type_name("");
  AddTimeout(*set, context);
}

}  // namespace hallmark::ctl
