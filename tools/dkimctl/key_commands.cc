#include <algorithm>
#include <optional>

#include "firmware/runtime/encoding.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/key_uri.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = AdminClient::Stub;
using admin::v1::Key;

struct Options {
  std::string domain, selector, token, cka_id, uri;
  std::string algorithm = "rsa2048";
  bool activate = false, dry_run = false, yes = false, unpublished = false;
};

std::string KeyFacts(const Key& key) {
  Table table;
  table.Add({"domain:", key.domain()});
  table.Add({"selector:", key.selector()});
  table.Add({"algorithm:", NameOf(key.algorithm())});
  table.Add({"state:", NameOf(key.state()) + " since " + TimeText(key.state_time())});
  table.Add({"token:", key.token()});
  for (const std::string& token : key.missing_tokens()) table.Add({"not in:", token + ": copy it there"});
  table.Add({"CKA_ID:", HexEncode(AsBytes(key.cka_id()))});
  table.Add({"created:", TimeText(key.create_time())});
  return table.Render();
}

// "hsm, not hsm-2".
std::string TokenText(const Key& key) {
  std::string text = key.token();
  for (const std::string& token : key.missing_tokens()) text += ", not " + token;
  return text;
}

std::string NextStep(const Key& key) {
  const std::string names = key.domain() + " " + key.selector();
  switch (key.state()) {
    case admin::v1::KEY_STATE_GENERATED:
      return "\nNext, publish its record and activate it:\n  dkimctl dns show " + key.domain() +
             "\n  dkimctl key activate " + names + "\n";
    case admin::v1::KEY_STATE_RETIRING:
      return "\nKeep its DNS record for a week: mail that it signed is still under way.\n";
    default: return "";
  }
}

Outcome PrintKey(const Context& context, const Key& key) {
  Print(context, KeyFacts(key) + NextStep(key), Json::Message(key));
  return ExitCode::kDone;
}

Outcome PrintDryRun(const Context& context, const std::string& what) {
  Print(context, "would " + what + "\n",
        Json::Object().Set("dry_run", Json::Bool(true)).Set("would", Json::Text(what)));
  return ExitCode::kDone;
}

// After an activation, so that a pair may be activated in any order.
void WarnOfEd25519Alone(AdminClient& client, const Key& key) {
  if (key.algorithm() != admin::v1::KEY_ALGORITHM_ED25519) return;
  const auto keys = client.ListKeys(key.domain());
  if (!keys || std::any_of(keys->keys().begin(), keys->keys().end(), &IsActiveRsa)) return;
  Complain(Ed25519AloneText(key.domain()));
}

template <class Request>
Request ForKey(const std::string& domain, const std::string& selector) {
  Request request;
  request.set_domain(domain);
  request.set_selector(selector);
  return request;
}

Answer<Key> GetKey(AdminClient& client, const Options& options) {
  return client.Call(&Stub::GetKey, ForKey<admin::v1::GetKeyRequest>(options.domain, options.selector));
}

// What signerd would say of a key in this state. The states are those of signerd/keys/transitions.cc.
Answer<void> CheckState(const Key& key, std::initializer_list<admin::v1::KeyState> may, const std::string& act) {
  if (std::find(may.begin(), may.end(), key.state()) != may.end()) return {};
  return Failed("STATE_CONFLICT: " + key.selector() + "._domainkey." + key.domain() + " is " + NameOf(key.state()) +
                " and cannot be " + act);
}

Answer<void> CheckToken(AdminClient& client, const std::string& name) {
  const auto status = client.Call(&Stub::GetStatus, admin::v1::GetStatusRequest());
  if (!status) return status.error();
  const bool known = std::any_of(status->tokens().begin(), status->tokens().end(), [&](const auto& token) {
    return (token.group().empty() ? token.name() : token.group()) == name;
  });
  if (known) return {};
  return Failed("NOT_FOUND: there is no token " + name +
                " in the configuration; where it is one of a group, name that");
}

Outcome TryGenerate(const Context& context, AdminClient& client, const Options& options) {
  admin::v1::GetDomainRequest request;
  request.set_name(options.domain);
  const auto domain = client.Call(&Stub::GetDomain, request);
  if (!domain) return domain.error();
  if (!options.selector.empty()) {
    const auto key = GetKey(client, options);
    if (key)
      return Failed("ALREADY_EXISTS: the selector " + options.selector + " was used already; choose another one");
    if (key.error().reason != "NOT_FOUND") return key.error();
  }
  if (!options.token.empty()) {
    const auto known = CheckToken(client, options.token);
    if (!known) return known.error();
  }
  return PrintDryRun(context, "generate an " + options.algorithm + " key for " + domain->name() +
                                  (options.selector.empty() ? "" : " at the selector " + options.selector) +
                                  " in the token " +
                                  (options.token.empty() ? "that is first in the configuration" : options.token) +
                                  (options.activate ? ", make a test signature with it, and sign " + domain->name() +
                                                          " with it at once, though its record is not in DNS yet"
                                                    : ""));
}

Outcome Generate(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (options.dry_run) return TryGenerate(context, *client, options);
  auto request = ForKey<admin::v1::GenerateKeyRequest>(options.domain, options.selector);
  request.set_algorithm(*KeyAlgorithmByName(options.algorithm));  // checked when the command line was read
  request.set_token(options.token);
  auto key = client->Call(&Stub::GenerateKey, request);
  if (!key) return key.error();
  if (options.activate) {
    auto activate = ForKey<admin::v1::ActivateKeyRequest>(key->domain(), key->selector());
    activate.set_unpublished(true);  // its record cannot be there yet
    auto active = client->Call(&Stub::ActivateKey, activate);
    if (!active) {
      Failure failure = active.error();
      failure.message += "; the key " + key->selector() + " was generated: activate it with: dkimctl key activate " +
                         key->domain() + " " + key->selector() + " --unpublished";
      return failure;
    }
    key = std::move(active);
    WarnOfEd25519Alone(*client, *key);
  }
  return PrintKey(context, *key);
}

Answer<KeyPlace> FindPair(AdminClient& client, const KeyUri& uri, const std::string& token) {
  const auto status = client.Call(&Stub::GetStatus, admin::v1::GetStatusRequest());
  return status ? uri.Find(token, *status) : Answer<KeyPlace>(status.error());
}

Outcome Adopt(const Context& context, const Options& options) {
  if (options.uri.empty() == options.cka_id.empty()) {
    return WrongUsage("name the pair by its URI (pkcs11:token=...;id=...), or by --cka-id");
  }
  const auto id = HexDecode(options.cka_id);
  if (!id) return WrongUsage("--cka-id: " + id.error().message);
  std::optional<KeyUri> uri;
  if (!options.uri.empty()) {
    auto parsed = KeyUri::Parse(options.uri);
    if (!parsed) return parsed.error();
    uri = std::move(*parsed);
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto place = uri ? FindPair(*client, *uri, options.token) : KeyPlace{options.token, std::string(AsText(*id))};
  if (!place) return place.error();
  auto request = ForKey<admin::v1::AdoptKeyRequest>(options.domain, options.selector);
  request.set_token(place->token);
  request.set_cka_id(place->cka_id);
  const auto key = client->Call(&Stub::AdoptKey, request);
  if (!key) return key.error();
  return PrintKey(context, *key);
}

Outcome List(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->ListKeys(options.domain);
  if (!answer) return answer.error();
  Table table({"DOMAIN", "SELECTOR", "ALGORITHM", "STATE", "TOKEN", "SINCE"});
  for (const Key& key : answer->keys()) {
    table.Add({key.domain(), key.selector(), NameOf(key.algorithm()), NameOf(key.state()), TokenText(key),
               TimeText(key.state_time())});
  }
  Print(context, table.empty() ? "no keys; make one with: dkimctl key generate DOMAIN\n" : table.Render(),
        Json::Message(*answer));
  return ExitCode::kDone;
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto key = GetKey(*client, options);
  if (!key) return key.error();
  const auto status = client->Call(&Stub::GetStatus, admin::v1::GetStatusRequest());
  if (!status) return status.error();
  std::string lines;  // whole, so that they can be taken elsewhere
  Json uris = Json::Array();
  for (const std::string& uri : UrisOf(*key, *status)) {
    lines += "URI: " + uri + "\n";
    uris.Add(Json::Text(uri));
  }
  Print(context, KeyFacts(*key) + lines + NextStep(*key), Json::Message(*key).Extend("uris", uris));
  return ExitCode::kDone;
}

Outcome Activate(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (options.dry_run) {
    const auto key = GetKey(*client, options);
    if (!key) return key.error();
    const auto may = CheckState(*key,
                                {admin::v1::KEY_STATE_GENERATED, admin::v1::KEY_STATE_PUBLISHED,
                                 admin::v1::KEY_STATE_READY, admin::v1::KEY_STATE_RETIRING},
                                "activated");
    if (!may) return may.error();
    return PrintDryRun(context, "make a test signature with " + key->selector() +
                                    (options.unpublished ? "" : ", verify it with the key that DNS gives") +
                                    ", then sign " + key->domain() + " with it too (now " + NameOf(key->state()) + ")");
  }
  auto request = ForKey<admin::v1::ActivateKeyRequest>(options.domain, options.selector);
  request.set_unpublished(options.unpublished);
  const auto key = client->Call(&Stub::ActivateKey, request);
  if (!key) return key.error();
  WarnOfEd25519Alone(*client, *key);
  return PrintKey(context, *key);
}

// What is wrong with its domain being signed without `key`; empty where nothing is.
Answer<std::string> WarningWithout(AdminClient& client, const Key& key) {
  if (!IsActive(key)) return std::string();
  const auto keys = client.ListKeys(key.domain());
  if (!keys) return keys.error();
  const auto count = [&](bool (*counts)(const Key&)) {
    return std::count_if(keys->keys().begin(), keys->keys().end(), counts);
  };
  if (count(&IsActive) == 1) {
    return key.selector() + " is the last active key of " + key.domain() +
           ": without it all mail of the domain is refused";
  }
  if (!IsActiveRsa(key) || count(&IsActiveRsa) > 1) return std::string();
  return key.selector() + " is the last active RSA key of " + key.domain() +
         ": many receivers do not verify Ed25519, and take mail without an RSA signature for unsigned";
}

Outcome Retire(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto found = GetKey(*client, options);
  if (!found) return found.error();
  const auto warning = WarningWithout(*client, *found);
  if (!warning) return warning.error();
  if (options.dry_run) {
    const auto may = CheckState(*found, {admin::v1::KEY_STATE_ACTIVE}, "retired");
    if (!may) return may.error();
    return PrintDryRun(context, "retire " + found->selector() + " of " + found->domain() + " (now " +
                                    NameOf(found->state()) + ")" + (warning->empty() ? "" : "; " + *warning));
  }
  if (!warning->empty() && !options.yes && !Confirm(*warning + ". Retire it?")) {
    return Failed(*warning + "; activate another first, or say --yes");
  }
  auto request = ForKey<admin::v1::RetireKeyRequest>(options.domain, options.selector);
  request.set_allow_last(!warning->empty());
  const auto key = client->Call(&Stub::RetireKey, request);
  if (!key) return key.error();
  return PrintKey(context, *key);
}

Outcome Revoke(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto found = GetKey(*client, options);
  if (!found) return found.error();
  // What a rotation made is given up with it (rollback); signerd tells the two apart.
  const bool never_signed = found->state() == admin::v1::KEY_STATE_GENERATED;
  const std::string name = found->selector() + " of " + found->domain();
  const std::string warning = never_signed ? name + " never signed: its pair is destroyed in the end"
                                           : "nothing that " + name + " signed verifies afterwards";
  if (options.dry_run) {
    const auto may =
        CheckState(*found, {admin::v1::KEY_STATE_RETIRING, admin::v1::KEY_STATE_GENERATED}, "revoked: retire it first");
    if (!may) return may.error();
    return PrintDryRun(context, std::string("ask for an approval to ") + (never_signed ? "give up " : "revoke ") +
                                    name + " (now " + NameOf(found->state()) + "); " + warning +
                                    (never_signed ? "; refused where a rotation made it" : ""));
  }
  if (!options.yes && !Confirm(warning + ". Ask for it?")) return Failed(warning + "; say --yes");
  const auto key =
      client->Call(&Stub::RevokeKey, ForKey<admin::v1::RevokeKeyRequest>(options.domain, options.selector));
  if (!key) return key.error();
  return PrintKey(context, *key);
}

std::string CheckAlgorithm(const std::string& name) {
  if (KeyAlgorithmByName(name)) return "";
  return "\"" + name + "\" is no algorithm; expected rsa2048, rsa3072, rsa4096 or ed25519";
}

void AddNames(CLI::App& command, Context& context, Options& options) {
  command.add_option("DOMAIN", options.domain, "The signing domain")->required()->type_name("");
  command.add_option("SELECTOR", options.selector, "The key's selector (s=)")->required()->type_name("");
  AddTimeout(command, context);
}

using Shared = std::shared_ptr<Options>;

void AddMakingCommands(CLI::App& group, Context& context, const Shared& options) {
  CLI::App* generate = AddCommand(group, context, "generate", "Make a key pair in a token",
                                  "dkimctl key generate example.com\n"
                                  "dkimctl key generate example.com --algorithm ed25519 --activate\n"
                                  "dkimctl key generate example.com --selector s2026 --token hsm2",
                                  [&context, options] { return Generate(context, *options); });
  generate->add_option("DOMAIN", options->domain, "The signing domain")->required()->type_name("");
  generate->add_option("--algorithm", options->algorithm, "rsa2048 (default), rsa3072, rsa4096, ed25519")
      ->type_name("NAME")
      ->check(CheckAlgorithm);
  generate->add_option("--selector", options->selector, "The selector [from algorithm and date]")->type_name("NAME");
  generate->add_option("--token", options->token, "The token [first of the configuration]")->type_name("NAME");
  generate->add_flag("--activate", options->activate, "Also activate it (record published later)");
  generate->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");
  AddTimeout(*generate, context);

  CLI::App* adopt = AddCommand(group, context, "adopt", "Take up a key pair that is in a token already",
                               "dkimctl key adopt example.com s2026 --cka-id 0a1b2c --token hsm2\n"
                               "dkimctl key adopt example.com s2026 'pkcs11:token=signing;id=%0a%1b%2c'",
                               [&context, options] { return Adopt(context, *options); });
  AddNames(*adopt, context, *options);
  adopt->add_option("URI", options->uri, "The pair's PKCS#11 URI (RFC 7512)")->type_name("");
  adopt->add_option("--cka-id", options->cka_id, "CKA_ID of its objects, hexadecimal")->type_name("HEX");
  adopt->add_option("--token", options->token, "The token [first of the configuration]")->type_name("NAME");
}

void AddStateCommands(CLI::App& group, Context& context, const Shared& options) {
  CLI::App* activate = AddCommand(group, context, "activate", "Sign with a key from the next message on",
                                  "dkimctl key activate example.com r20260131\n"
                                  "dkimctl key activate example.com r20260131 --unpublished",
                                  [&context, options] { return Activate(context, *options); });
  AddNames(*activate, context, *options);
  activate->add_flag("--unpublished", options->unpublished, "Do not look for its record in DNS");
  activate->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");

  CLI::App* retire = AddCommand(group, context, "retire", "Sign with a key no longer",
                                "dkimctl key retire example.com r20260131\n"
                                "dkimctl key retire example.com r20260131 --yes",
                                [&context, options] { return Retire(context, *options); });
  AddNames(*retire, context, *options);
  retire->add_flag("--yes", options->yes, "Also the last active one, or the last RSA key");
  retire->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");

  CLI::App* revoke = AddCommand(group, context, "revoke", "Give up a retired or unused key, with approval",
                                "dkimctl key revoke example.com r20260131\n"
                                "dkimctl key revoke example.com r20260131 --yes",
                                [&context, options] { return Revoke(context, *options); });
  AddNames(*revoke, context, *options);
  revoke->add_flag("--yes", options->yes, "Do not ask");
  revoke->add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");
}

}  // namespace

void AddKeyCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "key", "Keys and their rotation",
                             "dkimctl key rotate example.com --now\ndkimctl key status example.com --watch\n"
                             "dkimctl key policy show\ndkimctl key list");
  const auto options = std::make_shared<Options>();
  AddMakingCommands(*group, context, options);

  CLI::App* list = AddCommand(*group, context, "list", "List the keys of a domain, or of all",
                              "dkimctl key list\ndkimctl key list example.com --output json",
                              [&context, options] { return List(context, *options); });
  list->add_option("DOMAIN", options->domain, "The signing domain [all]")->type_name("");
  AddTimeout(*list, context);

  CLI::App* show = AddCommand(*group, context, "show", "Show one key", "dkimctl key show example.com r20260131",
                              [&context, options] { return Show(context, *options); });
  AddNames(*show, context, *options);
  AddStateCommands(*group, context, options);
  AddRotationCommands(*group, context);
  AddReplaceMissingCommand(*group, context);
}

}  // namespace hallmark::ctl
