#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = AdminClient::Stub;
using admin::v1::SigningProfile;

struct Options {
  std::string name;
  std::string line_endings;
  std::vector<std::string> signed_fields, oversigned_fields, excluded_fields;
  bool timestamp = true, query_method = false, copied_fields = false, body_length = false;
  std::int64_t expires_after = 0;
  std::string header, body, auid;
  // Sets the member that an option names, for each option that was given.
  std::vector<std::function<void(SigningProfile&)>> changes;
  bool dry_run = false;
};

std::string Join(const google::protobuf::RepeatedPtrField<std::string>& fields) {
  std::string text;
  for (const std::string& field : fields) text += (text.empty() ? "" : ", ") + field;
  return text.empty() ? "(built-in list)" : text;
}

std::string YesNo(bool value) { return value ? "yes" : "no"; }

std::string Facts(const SigningProfile& profile) {
  const auto canonicalization = [](const std::string& name) { return name.empty() ? std::string("relaxed") : name; };
  Table table;
  table.Add({"profile:", profile.name()});
  table.Add({"canonicalization:", canonicalization(profile.header_canonicalization()) + "/" +
                                      canonicalization(profile.body_canonicalization())});
  table.Add({"signed fields:", Join(profile.signed_fields())});
  table.Add({"oversigned fields:", Join(profile.oversigned_fields())});
  table.Add({"excluded fields:", Join(profile.excluded_fields())});
  table.Add({"line endings:", NameOf(profile.line_endings())});
  table.Add({"AUID (i=):", profile.auid().empty() ? "none" : profile.auid()});
  table.Add({"expires (x=):", profile.expires_after_seconds() == 0
                                  ? "never"
                                  : "after " + std::to_string(profile.expires_after_seconds()) + " seconds"});
  table.Add({"timestamp (t=):", YesNo(!profile.omit_timestamp())});
  table.Add({"query method (q=):", YesNo(profile.query_method())});
  table.Add({"copied fields (z=):", YesNo(profile.copied_fields())});
  table.Add({"body length (l=):", YesNo(profile.body_length())});
  return table.Render();
}

Outcome List(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->Call(&Stub::ListSigningProfiles, admin::v1::ListSigningProfilesRequest());
  if (!answer) return answer.error();
  Table table({"PROFILE", "HEADER", "BODY", "LINE ENDINGS", "TAGS"});
  for (const SigningProfile& profile : answer->profiles()) {
    std::string tags;
    if (!profile.omit_timestamp()) tags += "t= ";
    if (profile.expires_after_seconds() != 0) tags += "x= ";
    if (!profile.auid().empty()) tags += "i= ";
    if (profile.query_method()) tags += "q= ";
    if (profile.copied_fields()) tags += "z= ";
    if (profile.body_length()) tags += "l= ";
    table.Add({profile.name(), profile.header_canonicalization(), profile.body_canonicalization(),
               NameOf(profile.line_endings()), tags});
  }
  Print(context, table.Render(), Json::Message(*answer));
  return ExitCode::kDone;
}

Answer<SigningProfile> Get(AdminClient& client, const std::string& name) {
  admin::v1::GetSigningProfileRequest request;
  request.set_name(name);
  return client.Call(&Stub::GetSigningProfile, request);
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto profile = Get(*client, options.name);
  if (!profile) return profile.error();
  Print(context, Facts(*profile), Json::Message(*profile));
  return ExitCode::kDone;
}

Answer<SigningProfile> Save(AdminClient& client, const SigningProfile& profile, bool exists) {
  if (exists) {
    admin::v1::UpdateSigningProfileRequest request;
    *request.mutable_profile() = profile;
    return client.Call(&Stub::UpdateSigningProfile, request);
  }
  admin::v1::CreateSigningProfileRequest request;
  *request.mutable_profile() = profile;
  return client.Call(&Stub::CreateSigningProfile, request);
}

Outcome Set(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  auto profile = Get(*client, options.name);
  const bool exists = profile.has_value();
  if (!exists && profile.error().reason != "NOT_FOUND") return profile.error();
  if (!exists) {
    profile = SigningProfile();
    profile->set_name(options.name);
  }
  for (const auto& change : options.changes) change(*profile);
  if (options.dry_run) {
    if (options.name == "default") {
      return Failed("INVALID_ARGUMENT: the profile default is built in and cannot be changed");
    }
    Print(context, std::string("would ") + (exists ? "change" : "create") + " the profile to:\n" + Facts(*profile),
          Json::Object()
              .Set("dry_run", Json::Bool(true))
              .Set("exists", Json::Bool(exists))
              .Set("profile", Json::Message(*profile)));
    return ExitCode::kDone;
  }
  const auto saved = Save(*client, *profile, exists);
  if (!saved) return saved.error();
  Print(context, Facts(*saved), Json::Message(*saved));
  return ExitCode::kDone;
}

std::string CheckCanonicalization(const std::string& name) {
  return name == "simple" || name == "relaxed" ? ""
                                               : "\"" + name + "\" is no canonicalization; expected simple or relaxed";
}

std::string CheckLineEndings(const std::string& name) {
  return name == "normalize" || name == "refuse" ? "" : "\"" + name + "\" is no choice; expected normalize or refuse";
}

// "default" alone stands for the built-in list, which the API names by an empty one.
void SetFields(const std::vector<std::string>& given, google::protobuf::RepeatedPtrField<std::string>* fields) {
  fields->Clear();
  if (given.size() == 1 && given.front() == "default") return;
  for (const std::string& field : given) {
    if (!field.empty()) *fields->Add() = field;
  }
}

using Shared = std::shared_ptr<Options>;
using Change = void (*)(const Options&, SigningProfile&);

// Makes `option` apply `change` when the command line has it.
void OnGiven(CLI::Option* option, const Shared& options, Change change) {
  Options* raw = options.get();  // owned by the command's callback, which outlives the parse
  option->each([raw, change](const std::string&) {
    raw->changes.push_back([raw, change](SigningProfile& profile) { change(*raw, profile); });
  });
}

void AddTextOptions(CLI::App& set, const Shared& options) {
  OnGiven(set.add_option("--header-canonicalization", options->header, "simple or relaxed")
              ->type_name("NAME")
              ->check(CheckCanonicalization),
          options,
          [](const Options& given, SigningProfile& profile) { profile.set_header_canonicalization(given.header); });
  OnGiven(set.add_option("--body-canonicalization", options->body, "simple or relaxed")
              ->type_name("NAME")
              ->check(CheckCanonicalization),
          options,
          [](const Options& given, SigningProfile& profile) { profile.set_body_canonicalization(given.body); });
  OnGiven(set.add_option("--signed-fields", options->signed_fields, "Signed where present")
              ->type_name("A,B,..")
              ->delimiter(','),
          options, [](const Options& given, SigningProfile& profile) {
            SetFields(given.signed_fields, profile.mutable_signed_fields());
          });
  OnGiven(set.add_option("--oversigned-fields", options->oversigned_fields, "Named once more than present")
              ->type_name("A,B,..")
              ->delimiter(','),
          options, [](const Options& given, SigningProfile& profile) {
            SetFields(given.oversigned_fields, profile.mutable_oversigned_fields());
          });
  OnGiven(set.add_option("--excluded-fields", options->excluded_fields, "Never signed")
              ->type_name("A,B,..")
              ->delimiter(','),
          options, [](const Options& given, SigningProfile& profile) {
            SetFields(given.excluded_fields, profile.mutable_excluded_fields());
          });
  OnGiven(set.add_option("--line-endings", options->line_endings, "Bare CR and LF: normalize or refuse")
              ->type_name("WHAT")
              ->check(CheckLineEndings),
          options, [](const Options& given, SigningProfile& profile) {
            profile.set_line_endings(given.line_endings == "refuse" ? admin::v1::LINE_ENDINGS_REFUSE
                                                                    : admin::v1::LINE_ENDINGS_NORMALIZE);
          });
  OnGiven(
      set.add_option("--auid", options->auid, "i=: @domain, user@domain or none")->type_name("AUID"), options,
      [](const Options& given, SigningProfile& profile) { profile.set_auid(given.auid == "none" ? "" : given.auid); });
  OnGiven(set.add_option("--expires-after", options->expires_after, "x= so long after t=; 0: none")
              ->type_name("SECONDS")
              ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40).description("")),
          options, [](const Options& given, SigningProfile& profile) {
            profile.set_expires_after_seconds(given.expires_after);
          });
}

void AddFlags(CLI::App& set, const Shared& options) {
  OnGiven(set.add_flag("--timestamp,!--no-timestamp", options->timestamp, "Write t="), options,
          [](const Options& given, SigningProfile& profile) { profile.set_omit_timestamp(!given.timestamp); });
  OnGiven(set.add_flag("--query-method,!--no-query-method", options->query_method, "Write q=dns/txt"), options,
          [](const Options& given, SigningProfile& profile) { profile.set_query_method(given.query_method); });
  OnGiven(set.add_flag("--copied-fields,!--no-copied-fields", options->copied_fields, "Write z="), options,
          [](const Options& given, SigningProfile& profile) { profile.set_copied_fields(given.copied_fields); });
  OnGiven(set.add_flag("--body-length,!--no-body-length", options->body_length,
                       "Write l= (unsafe: see the answers' warning)"),
          options, [](const Options& given, SigningProfile& profile) { profile.set_body_length(given.body_length); });
  set.add_flag("--dry-run", options->dry_run, "Say what would be done, and do nothing");
}

}  // namespace

void AddProfileCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "profile", "Signing profiles: what is signed and how",
                             "dkimctl profile list\ndkimctl profile set strict --header-canonicalization simple");
  const auto options = std::make_shared<Options>();
  CLI::App* list = AddCommand(*group, context, "list", "List the signing profiles", "dkimctl profile list",
                              [&context] { return List(context); });
  AddTimeout(*list, context);

  CLI::App* show = AddCommand(*group, context, "show", "Show one profile", "dkimctl profile show default",
                              [&context, options] { return Show(context, *options); });
  show->add_option("NAME", options->name, "The profile")->required()->type_name("");
  AddTimeout(*show, context);

  CLI::App* set = AddCommand(*group, context, "set", "Create a profile, or change one",
                             "dkimctl profile set strict --body-canonicalization simple --query-method\n"
                             "dkimctl profile set strict --excluded-fields Received,Return-Path\n"
                             "dkimctl profile set strict --signed-fields default --no-query-method",
                             [&context, options] { return Set(context, *options); });
  set->add_option("NAME", options->name, "The profile")->required()->type_name("");
  AddTextOptions(*set, options);
  AddFlags(*set, options);
  AddTimeout(*set, context);
}

}  // namespace hallmark::ctl
