#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include "hallmark/admin/v1/rotation.grpc.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/rotation_outlook.h"
#include "tools/dkimctl/rotation_text.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using Stub = api::RotationService::Stub;

constexpr std::chrono::milliseconds kWatchInterval{2000};

struct Options {
  std::string domain, selector, reason, page;
  bool now = false, compromised = false, dry_run = false, watch = false, yes = false;
  int most = 100;
  // Of a policy; empty: as it is.
  std::string algorithms, lifetime, propagation, retire, revoked, trash, record_ttl, scheme, publisher, delegation,
      token, waiver;
  bool automatic = false, on_demand = false, inherit = false;
};
using Shared = std::shared_ptr<Options>;

template <class Request>
Request ForDomain(const std::string& domain) {
  Request request;
  request.set_domain(domain);
  return request;
}

Answer<api::Rotation> GetRotation(AdminClient& client, const std::string& domain) {
  return client.Call(&Stub::GetRotation, ForDomain<api::GetRotationRequest>(domain));
}

Outcome PrintRotation(const Context& context, const api::Rotation& rotation) {
  Print(context, RotationText(rotation), Json::Message(rotation));
  return ExitCode::kDone;
}

Outcome Rotate(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto present = GetRotation(*client, options.domain);
  if (!present) return present.error();
  if (options.dry_run || !options.now) {
    const std::string refused = RefusalOfRotation(*present, options.compromised);
    if (!refused.empty()) return Failed(refused);
  }
  const std::string intent = RotationIntent(*present, options.compromised);
  if (options.dry_run) {
    Print(context, "would " + intent + "\n",
          Json::Object().Set("dry_run", Json::Bool(true)).Set("would", Json::Text(intent)));
    return ExitCode::kDone;
  }
  if (!options.now && !Confirm("This would " + intent + ". Begin now?")) {
    return Failed("a rotation was not begun; say --now to begin it without being asked");
  }
  auto request = ForDomain<api::RotateKeysRequest>(options.domain);
  request.set_compromised(options.compromised);
  const auto rotation = client->Call(&Stub::RotateKeys, request);
  if (!rotation) return rotation.error();
  return PrintRotation(context, *rotation);
}

Answer<api::ListRotationsResponse> ListRotations(AdminClient& client) {
  api::ListRotationsRequest request;
  api::ListRotationsResponse all;
  while (true) {
    auto page = client.Call(&Stub::ListRotations, request);
    if (!page) return page.error();
    for (auto& rotation : *page->mutable_rotations()) *all.add_rotations() = std::move(rotation);
    if (page->next_page_token().empty()) return all;
    request.set_page_token(page->next_page_token());
  }
}

// Waits a while; false where nobody reads standard output any more.
bool WaitWhileRead() {
  pollfd out{STDOUT_FILENO, 0, 0};
  return ::poll(&out, 1, static_cast<int>(kWatchInterval.count())) <= 0;
}

// Prints each change until no rotation is under way.
Outcome Watch(const Context& context, AdminClient& client, const std::string& domain) {
  std::string shown;
  while (true) {
    const auto rotation = GetRotation(client, domain);
    if (!rotation) return rotation.error();
    const std::string text = context.json() ? Json::Message(*rotation).Dump() : RotationText(*rotation);
    if (text != shown) {
      if (!shown.empty() && !context.json()) PrintOut("\n");
      PrintOut(text);
      if (std::fflush(stdout) != 0) return Failed("cannot write to standard output");
      shown = text;
    }
    const bool begins = rotation->next() == "begin a rotation" && !rotation->paused() &&
                        rotation->next_time().seconds() <= std::time(nullptr) && rotation->trouble().empty();
    if (!rotation->under_way() && !begins) return ExitCode::kDone;
    if (!WaitWhileRead()) return Failed("nobody reads standard output any more");
  }
}

Outcome Status(const Context& context, const Options& options) {
  if (options.domain.empty() && options.watch) return WrongUsage("--watch needs a DOMAIN");
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (options.domain.empty()) {
    const auto all = ListRotations(*client);
    if (!all) return all.error();
    Print(context, RotationsText(*all), Json::Message(*all));
    return ExitCode::kDone;
  }
  if (options.watch) return Watch(context, *client, options.domain);
  const auto rotation = GetRotation(*client, options.domain);
  if (!rotation) return rotation.error();
  return PrintRotation(context, *rotation);
}

Outcome RollBack(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto present = GetRotation(*client, options.domain);
  if (!present) return present.error();
  const std::string intent =
      present->under_way()
          ? "give up the keys that are on their way to replace " + SelectorsIn(*present, api::KEY_STATE_ACTIVE)
          : "sign with the keys that " + SelectorsIn(*present, api::KEY_STATE_ACTIVE) + " replaced";
  if (options.dry_run) {
    Print(context, "would " + intent + ", and pause the rotation\n",
          Json::Object().Set("dry_run", Json::Bool(true)).Set("would", Json::Text(intent)));
    return ExitCode::kDone;
  }
  if (!options.yes && !Confirm("This would " + intent + ", and pause the rotation. Do it?")) {
    return Failed("nothing was rolled back; say --yes to do it without being asked");
  }
  const auto rotation = client->Call(&Stub::RollBackKeys, ForDomain<api::RollBackKeysRequest>(options.domain));
  if (!rotation) return rotation.error();
  return PrintRotation(context, *rotation);
}

Outcome Pause(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  auto request = ForDomain<api::PauseRotationRequest>(options.domain);
  request.set_reason(options.reason);
  const auto rotation = client->Call(&Stub::PauseRotation, request);
  if (!rotation) return rotation.error();
  return PrintRotation(context, *rotation);
}

Outcome Resume(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto rotation = client->Call(&Stub::ResumeRotation, ForDomain<api::ResumeRotationRequest>(options.domain));
  if (!rotation) return rotation.error();
  return PrintRotation(context, *rotation);
}

Outcome History(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  auto request = ForDomain<api::ListKeyEventsRequest>(options.domain);
  request.set_selector(options.selector);
  request.set_page_size(options.most);
  request.set_page_token(options.page);
  const auto events = client->Call(&Stub::ListKeyEvents, request);
  if (!events) return events.error();
  const std::string& next = events->next_page_token();
  const std::string more = next.empty() ? "" : "more with --page " + next + "\n";
  Print(context, EventsText(*events) + more, Json::Message(*events));
  return ExitCode::kDone;
}

Outcome ShowPolicy(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto policy = client->Call(&Stub::GetRotationPolicy, ForDomain<api::GetRotationPolicyRequest>(options.domain));
  if (!policy) return policy.error();
  Print(context, PolicyText(*policy), Json::Message(*policy));
  return ExitCode::kDone;
}

// Puts what the command line says over `policy`; an empty string where all of it made sense.
std::string Change(const Options& options, api::RotationPolicy& policy) {
  using Setter = void (api::RotationPolicy::*)(std::int64_t);
  const std::tuple<const char*, const std::string&, Setter> times[] = {
      {"--lifetime", options.lifetime, &api::RotationPolicy::set_lifetime_seconds},
      {"--propagation", options.propagation, &api::RotationPolicy::set_propagation_seconds},
      {"--retire", options.retire, &api::RotationPolicy::set_retire_seconds},
      {"--revoked", options.revoked, &api::RotationPolicy::set_revoked_seconds},
      {"--trash", options.trash, &api::RotationPolicy::set_trash_seconds},
      {"--record-ttl", options.record_ttl, &api::RotationPolicy::set_record_ttl_seconds},
  };
  for (const auto& [name, text, set] : times) {
    if (text.empty()) continue;
    const auto seconds = ParseDuration(text);
    if (!seconds) return std::string(name) + ": \"" + text + "\" is no duration; expected for example 90d, 12h or 30m";
    (policy.*set)(*seconds);
  }
  if (!options.algorithms.empty()) {
    policy.clear_algorithms();
    for (const std::string& name : CLI::detail::split(options.algorithms, ',')) {
      const auto algorithm = KeyAlgorithmByName(name);
      if (!algorithm) return "--algorithms: \"" + name + "\" is none; expected rsa2048, rsa3072, rsa4096 or ed25519";
      policy.add_algorithms(*algorithm);
    }
  }
  if (!options.scheme.empty()) policy.set_selector(options.scheme);
  if (!options.publisher.empty()) policy.set_publisher(options.publisher);
  const auto unless_none = [](const std::string& text) { return text == "none" ? "" : text; };
  if (!options.delegation.empty()) policy.set_delegation(unless_none(options.delegation));
  if (!options.token.empty()) policy.set_token(unless_none(options.token));
  if (!options.waiver.empty()) policy.set_backup_waiver(unless_none(options.waiver));
  if (options.automatic) policy.set_on_demand(false);
  if (options.on_demand) policy.set_on_demand(true);
  return "";
}

// Whether the command line says anything that Change() puts into a policy.
bool Changes(const Options& options) {
  for (const std::string* text : {&options.algorithms, &options.lifetime, &options.propagation, &options.retire,
                                  &options.revoked, &options.trash, &options.record_ttl, &options.scheme,
                                  &options.publisher, &options.delegation, &options.token, &options.waiver}) {
    if (!text->empty()) return true;
  }
  return options.automatic || options.on_demand;
}

// What only signerd can look at.
constexpr char kNotJudged[] = "Whether the publisher and the token are there is looked at when it is set.\n";

Outcome SetPolicy(const Context& context, const Options& options) {
  if (options.inherit && (options.domain.empty() || Changes(options))) {
    return WrongUsage("--inherit takes a DOMAIN, and nothing else that is to be changed");
  }
  // Set as it is, what holds for all others would become the domain's own.
  if (!options.inherit && !Changes(options)) {
    return WrongUsage("say what is to be changed; what is in force says: dkimctl key policy show");
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto get = [&](const std::string& domain) {
    return client->Call(&Stub::GetRotationPolicy, ForDomain<api::GetRotationPolicyRequest>(domain));
  };
  auto present = get(options.domain);
  const std::string etag = present ? present->etag() : "";
  if (present && options.inherit) present = get("");
  if (!present) return present.error();
  api::SetRotationPolicyRequest request;
  *request.mutable_policy() = *present;
  request.mutable_policy()->set_domain(options.domain);
  request.mutable_policy()->set_etag(etag);
  request.set_inherit(options.inherit);
  const std::string wrong = Change(options, *request.mutable_policy());
  if (!wrong.empty()) return WrongUsage(wrong);
  if (options.dry_run) {
    const auto judged = JudgePolicy(request.policy());
    if (!judged) return judged.error();
    Print(context, "would be in force:\n" + PolicyText(request.policy()) + kNotJudged,
          Json::Object().Set("dry_run", Json::Bool(true)).Set("policy", Json::Message(request.policy())));
    return ExitCode::kDone;
  }
  const auto policy = client->Call(&Stub::SetRotationPolicy, request);
  if (!policy) return policy.error();
  Print(context, PolicyText(*policy), Json::Message(*policy));
  return ExitCode::kDone;
}

void AddDomain(CLI::App& command, Context& context, Options& options) {
  command.add_option("DOMAIN", options.domain, "The signing domain")->required()->type_name("");
  AddTimeout(command, context);
}

void AddActs(CLI::App& group, Context& context, const Shared& options) {
  CLI::App* rotate = AddCommand(group, context, "rotate", "Replace the keys of a domain by new ones",
                                "dkimctl key rotate example.com --dry-run\n"
                                "dkimctl key rotate example.com --now\n"
                                "dkimctl key rotate example.com --compromised",
                                [&context, options] { return Rotate(context, *options); });
  AddDomain(*rotate, context, *options);
  rotate->add_flag("--now", options->now, "Begin without being asked");
  rotate->add_flag("--compromised", options->compromised, "Others know the keys: at once, and revoke them");
  rotate->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");

  CLI::App* rollback = AddCommand(group, context, "rollback", "Take the last rotation back",
                                  "dkimctl key rollback example.com\ndkimctl key rollback example.com --yes",
                                  [&context, options] { return RollBack(context, *options); });
  AddDomain(*rollback, context, *options);
  rollback->add_flag("--yes", options->yes, "Do not ask");
  rollback->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");

  CLI::App* pause = AddCommand(group, context, "pause", "Hold the rotation of a domain; signing goes on",
                               "dkimctl key pause example.com --reason \"zone moves\"",
                               [&context, options] { return Pause(context, *options); });
  AddDomain(*pause, context, *options);
  pause->add_option("--reason", options->reason, "Why, for others to read")->type_name("TEXT");

  CLI::App* resume =
      AddCommand(group, context, "resume", "Let a paused rotation go on", "dkimctl key resume example.com",
                 [&context, options] { return Resume(context, *options); });
  AddDomain(*resume, context, *options);
}

void AddViews(CLI::App& group, Context& context, const Shared& options) {
  CLI::App* status = AddCommand(group, context, "status", "What comes next, and what it waits for",
                                "dkimctl key status\ndkimctl key status example.com\n"
                                "dkimctl key status example.com --watch",
                                [&context, options] { return Status(context, *options); });
  status->add_option("DOMAIN", options->domain, "The signing domain [all]")->type_name("");
  status->add_flag("--watch", options->watch, "Show each change until the rotation is over");
  AddTimeout(*status, context);

  CLI::App* history = AddCommand(group, context, "history", "Every step of the keys, newest first",
                                 "dkimctl key history example.com\n"
                                 "dkimctl key history example.com 20260131rk7p2 --output json",
                                 [&context, options] { return History(context, *options); });
  history->add_option("DOMAIN", options->domain, "The signing domain [all]")->type_name("");
  history->add_option("SELECTOR", options->selector, "Of this key alone")->type_name("");
  history->add_option("--most", options->most, "At most so many")->check(CLI::Range(1, 10'000))->capture_default_str();
  history->add_option("--page", options->page, "Go on where a page ended")->type_name("TOKEN");
  AddTimeout(*history, context);
}

void AddPolicy(CLI::App& parent, Context& context, const Shared& options) {
  CLI::App* group = AddGroup(parent, "policy", "How keys rotate by themselves",
                             "dkimctl key policy show\ndkimctl key policy set --lifetime 60d --publisher main");
  CLI::App* show = AddCommand(*group, context, "show", "Show the policy of a domain, or of all others",
                              "dkimctl key policy show\ndkimctl key policy show example.com",
                              [&context, options] { return ShowPolicy(context, *options); });
  show->add_option("DOMAIN", options->domain, "The signing domain [all others]")->type_name("");
  AddTimeout(*show, context);

  CLI::App* set = AddCommand(*group, context, "set", "Change the policy of a domain, or of all others",
                             "dkimctl key policy set --publisher main --lifetime 60d\n"
                             "dkimctl key policy set example.com --algorithms rsa2048\n"
                             "dkimctl key policy set example.com --delegation dkim.example.net\n"
                             "dkimctl key policy set --waive-backup \"a lost token means new keys\"\n"
                             "dkimctl key policy set example.com --inherit",
                             [&context, options] { return SetPolicy(context, *options); });
  set->add_option("DOMAIN", options->domain, "The signing domain [all others]")->type_name("");
  const std::tuple<const char*, std::string*, const char*> texts[] = {
      {"--algorithms", &options->algorithms, "One key of each: rsa2048,ed25519"},
      {"--lifetime", &options->lifetime, "How long a key signs: 90d"},
      {"--propagation", &options->propagation, "Waited for beside the TTLs: 1h"},
      {"--retire", &options->retire, "From the last signature to an empty p=: 7d"},
      {"--revoked", &options->revoked, "How long that stays: 30d"},
      {"--trash", &options->trash, "How long the pair then stays: 30d"},
      {"--record-ttl", &options->record_ttl, "The TTL of the records: 1h"},
      {"--selector", &options->scheme, "With {date}, {letter}, {random}"},
      {"--publisher", &options->publisher, "One of the configuration, or manual"},
      {"--delegation", &options->delegation, "The zone that takes the records, or none"},
      {"--token", &options->token, "Where new pairs are made, or none: the first"},
      {"--waive-backup", &options->waiver, "Why these keys need no backup, or none"},
  };
  for (const auto& [name, target, help] : texts) set->add_option(name, *target, help)->type_name("");
  CLI::Option* automatic = set->add_flag("--automatic", options->automatic, "Rotate by itself");
  set->add_flag("--on-demand", options->on_demand, "Rotate when told to")->excludes(automatic);
  set->add_flag("--inherit", options->inherit, "Take the domain's own policy away");
  set->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");
  AddTimeout(*set, context);
}

}  // namespace

void AddRotationCommands(CLI::App& group, Context& context) {
  const auto options = std::make_shared<Options>();
  AddActs(group, context, options);
  AddViews(group, context, options);
  AddPolicy(group, context, options);
}

}  // namespace hallmark::ctl
