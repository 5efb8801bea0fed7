#include <optional>
#include <set>

#include "hallmark/admin/v1/rotation.grpc.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

// New keys for domains whose keys are not in the token: after a restore beside another token.
namespace hallmark::ctl {
namespace {

namespace api = admin::v1;

constexpr char kAll[] = "keys", kOne[] = "key/";

struct Options {
  bool dry_run = false, yes = false;
};

struct MissingKey {
  std::string domain, selector, reason;
};

// What signerd found out about the keys that sign.
struct Missing {
  std::set<std::string> domains;
  std::vector<MissingKey> keys;
  std::string summary;
  bool known = false;  // it has looked
};

Answer<Missing> Look(AdminClient& client) {
  const auto status = client.Call(&AdminClient::Stub::GetStatus, api::GetStatusRequest());
  if (!status) return status.error();
  Missing missing;
  for (const api::HealthReading& reading : status->health()) {
    if (reading.name() == kAll) {
      missing.summary = reading.message();
      missing.known = reading.level() != api::HEALTH_LEVEL_UNKNOWN;
    }
    if (!reading.name().starts_with(kOne)) continue;
    const std::string name = reading.name().substr(std::string_view(kOne).size());
    const std::size_t slash = name.find('/');
    missing.domains.insert(name.substr(0, slash));
    missing.keys.push_back(
        {name.substr(0, slash), slash == std::string::npos ? "" : name.substr(slash + 1), reading.message()});
  }
  return missing;
}

struct Begun {
  std::string domain, problem;  // empty: it began
};

// A failure is of the line or of signerd: what comes after it was not tried.
std::optional<Failure> BeginAll(AdminClient& client, const std::set<std::string>& domains, std::vector<Begun>& all) {
  std::optional<Failure> ended;
  for (const std::string& domain : domains) {
    if (ended) {
      all.push_back({domain, "not begun"});
      continue;
    }
    api::RotateKeysRequest request;
    request.set_domain(domain);
    const auto rotation = client.Call(&api::RotationService::Stub::RotateKeys, request);
    all.push_back({domain, rotation ? "" : rotation.error().message});
    // One domain's trouble keeps none of the others.
    if (!rotation && rotation.error().reason.empty()) ended = rotation.error();
  }
  return ended;
}

std::string KeysText(const Missing& missing) {
  Table table({"DOMAIN", "SELECTOR", "WHY"});
  for (const MissingKey& key : missing.keys) table.Add({key.domain, key.selector, key.reason});
  return table.Render();
}

Json Form(bool dry_run, const Missing& missing, const std::vector<Begun>& all) {
  Json keys = Json::Array(), domains = Json::Array();
  for (const MissingKey& key : missing.keys) {
    keys.Add(Json::Object()
                 .Set("domain", Json::Text(key.domain))
                 .Set("selector", Json::Text(key.selector))
                 .Set("reason", Json::Text(key.reason)));
  }
  for (const Begun& one : all) {
    domains.Add(Json::Object().Set("domain", Json::Text(one.domain)).Set("problem", Json::Text(one.problem)));
  }
  return Json::Object()
      .Set("dry_run", Json::Bool(dry_run))
      .Set("summary", Json::Text(missing.summary))
      .Set("keys", std::move(keys))
      .Set("domains", std::move(domains));
}

Outcome Replace(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto missing = Look(*client);
  if (!missing) return missing.error();
  if (missing->domains.empty() && !missing->known) {
    return Failed("signerd has not looked at all keys yet (" + missing->summary + "); see dkimctl status");
  }
  std::vector<Begun> planned;
  for (const std::string& domain : missing->domains) planned.push_back({domain, ""});
  if (missing->domains.empty() || options.dry_run) {
    Print(context,
          missing->domains.empty() ? missing->summary + "; nothing is to be replaced\n"
                                   : KeysText(*missing) + "new keys would be made for " +
                                         std::to_string(missing->domains.size()) + " domains\n",
          Form(options.dry_run, *missing, planned));
    return ExitCode::kDone;
  }
  if (!options.yes &&
      !Confirm("Make new keys for " + std::to_string(missing->domains.size()) +
               " domains, in the token of each one's rotation policy, and have them take over once DNS has them?")) {
    return Failed("not done; look with --dry-run, then say --yes");
  }
  std::vector<Begun> begun;
  const auto ended = BeginAll(*client, missing->domains, begun);
  Table table({"DOMAIN", "ROTATION"});
  bool all = true;
  for (const Begun& one : begun) {
    all = all && one.problem.empty();
    table.Add({one.domain, one.problem.empty() ? "begun" : OneLine(one.problem)});
  }
  Print(context,
        table.Render() + "watch them with dkimctl key status; records that you publish yourself: dkimctl dns show\n",
        Form(false, *missing, begun));
  if (ended) return *ended;
  return all ? ExitCode::kDone : ExitCode::kFailed;
}

}  // namespace

void AddReplaceMissingCommand(CLI::App& group, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* replace = AddCommand(group, context, "replace-missing", "New keys where a token has the old no longer",
                                 "dkimctl key replace-missing --dry-run\ndkimctl key replace-missing --yes",
                                 [&context, options] { return Replace(context, *options); });
  replace->add_flag("--dry-run", options->dry_run, "Say which keys are missing, and do nothing");
  replace->add_flag("--yes", options->yes, "Do not ask");
  AddTimeout(*replace, context);
}

}  // namespace hallmark::ctl
