#include <algorithm>
#include <cctype>
#include <filesystem>

#include "firmware/runtime/file.h"
#include "signerd/dkim/author.h"
#include "signerd/dkim/profile.h"
#include "signerd/policy/policy_file.h"
#include "tools/dkimctl/key_importer.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/new_file.h"
#include "tools/dkimctl/table.h"
#include "tools/migration/opendkim.h"
#include "tools/migration/rspamd.h"

namespace hallmark::ctl {
namespace {

constexpr std::size_t kMostConfigOctets = 16 << 20;
constexpr std::size_t kMostConfigFiles = 1000;

struct Options {
  ImportOptions import;
  std::string path, root, profile, policy_out;  // of a configuration
  std::string domain, selector;                 // of one key
};

// All that is told of an import.
struct Report {
  bool dry_run = false;
  std::vector<std::pair<std::string, std::string>> made;  // "profile opendkim": what became of it
  std::vector<ImportedKey> keys;
  migration::Notes notes;
  std::vector<std::string> senders;
  std::string policy;              // of policy.toml; empty where it need not change
  std::string policy_file;         // where it was written; empty: it is shown
  std::optional<Failure> failure;  // what ended it before all was done
};

const char* NameOf(migration::Note::Kind kind) {
  switch (kind) {
    case migration::Note::Kind::kLost: return "not carried over";
    case migration::Note::Kind::kDiffers: return "differs";
    case migration::Note::Kind::kRead: return "also read";
  }
  return "";
}

std::string Indented(const std::string& text) {
  std::string out;
  for (const std::string& line : Wrap(OneLine(text), Table::kColumns - 4)) out += "    " + line + "\n";
  return out;
}

std::string NotesText(const migration::Notes& notes, migration::Note::Kind kind, const std::string& title) {
  std::string text;
  for (const migration::Note& note : notes) {
    if (note.kind == kind) text += "  " + OneLine(note.place.Text()) + "\n" + Indented(note.text);
  }
  return text.empty() ? "" : "\n" + title + "\n" + text;
}

std::string KeysText(const std::vector<ImportedKey>& keys) {
  std::string text;
  for (const ImportedKey& key : keys) {
    text += OneLine(key.selector + "._domainkey." + key.domain +
                    (key.algorithm.empty() ? "" : " (" + key.algorithm + ")")) +
            "\n" + Indented(key.result) + Indented("from " + key.source);
  }
  return text;
}

std::string ExposedText(const std::vector<ImportedKey>& keys) {
  std::set<std::string> domains;
  for (const ImportedKey& key : keys) {
    if (key.good) domains.insert(key.domain);
  }
  if (domains.empty()) return "";
  std::string text =
      "\nThese keys lay in files, so they count as exposed: whoever has read the files\n"
      "can sign as you. Replace them, then destroy the files and their backups:\n";
  constexpr std::size_t kShown = 3;
  std::size_t shown = 0;
  for (const std::string& domain : domains) {
    if (++shown > kShown) break;
    text += "  dkimctl key rotate " + domain + "\n";
  }
  if (domains.size() > kShown) text += "  ... and of " + std::to_string(domains.size() - kShown) + " more domains\n";
  return text;
}

// A [[relay]] for a host by its name; of a network it is not known who is in it.
std::string RelayText(const std::string& sender, std::size_t number) {
  const auto name = dkim::NormalizeDomain(sender);
  const bool host = name && name->find('.') != std::string::npos &&
                    std::any_of(name->begin(), name->end(), [](unsigned char c) { return std::isalpha(c) != 0; });
  return "    [[relay]]" + (host ? "" : "  # one for each in " + OneLine(sender)) + "\n    name = \"relay" +
         std::to_string(number) + "\"\n    identity = \"dns:" + (host ? *name : "NAME") +
         "\"\n    partners = [\"own\"]\n";
}

std::string SendersText(const std::vector<std::string>& senders) {
  if (senders.empty()) return "";
  std::string text =
      "\nMail from these hosts was signed. Hallmark signs what relays send that have a\n"
      "certificate and a [[relay]] in the policy:\n";
  for (const std::string& sender : senders) text += Indented(sender);
  text += "In policy.toml, with what their certificates say (docs/operations.md):\n";
  std::size_t number = 0;
  for (const std::string& sender : senders) text += RelayText(sender, ++number);
  return text;
}

std::string ReportText(const Report& report) {
  std::string text = report.dry_run ? "dry run: nothing is changed\n" : "";
  for (const auto& [what, became] : report.made) text += OneLine(what) + ": " + OneLine(became) + "\n";
  text += KeysText(report.keys);
  text += NotesText(report.notes, migration::Note::Kind::kDiffers, "What will be otherwise:");
  text += NotesText(report.notes, migration::Note::Kind::kLost, "What was not carried over:");
  text += NotesText(report.notes, migration::Note::Kind::kRead, "Files that were read because these lines name them:");
  text += SendersText(report.senders);
  if (!report.policy.empty()) {
    text +=
        "\nThe policy does not let these domains be sent yet. Look this one through, then\n"
        "apply it with: dkimctl apply -f " +
        (report.policy_file.empty() ? "policy.toml\n\n" + report.policy : report.policy_file + "\n");
  }
  return text + (report.dry_run ? "" : ExposedText(report.keys));
}

Json ReportJson(const Report& report) {
  Json made = Json::Array(), keys = Json::Array(), notes = Json::Array(), senders = Json::Array();
  for (const auto& [what, became] : report.made) {
    made.Add(Json::Object().Set("what", Json::Text(what)).Set("result", Json::Text(became)));
  }
  for (const ImportedKey& key : report.keys) {
    keys.Add(Json::Object()
                 .Set("domain", Json::Text(key.domain))
                 .Set("selector", Json::Text(key.selector))
                 .Set("algorithm", Json::Text(key.algorithm))
                 .Set("source", Json::Text(key.source))
                 .Set("result", Json::Text(key.result))
                 .Set("good", Json::Bool(key.good)));
  }
  for (const migration::Note& note : report.notes) {
    notes.Add(Json::Object()
                  .Set("kind", Json::Text(NameOf(note.kind)))
                  .Set("place", Json::Text(note.place.Text()))
                  .Set("text", Json::Text(note.text)));
  }
  for (const std::string& sender : report.senders) senders.Add(Json::Text(sender));
  return Json::Object()
      .Set("dry_run", Json::Bool(report.dry_run))
      .Set("made", std::move(made))
      .Set("keys", std::move(keys))
      .Set("notes", std::move(notes))
      .Set("senders", std::move(senders))
      .Set("policy", Json::Text(report.policy))
      .Set("policy_file", Json::Text(report.policy_file))
      .Set("problem", Json::Text(report.failure ? report.failure->message : ""));
}

// Profile and domains, then the keys. What was done is in the report when the rest fails.
Answer<void> CarryOut(KeyImporter& importer, const migration::Plan& plan, const Options& options, NewFile& policy_out,
                      Report& report) {
  report.dry_run = options.import.dry_run;
  report.notes = plan.notes;
  report.senders = plan.senders;
  if (!plan.profile.name.empty()) {
    const auto profile = importer.PutProfile(plan.profile);
    if (!profile) return profile.error();
    report.made.emplace_back("profile " + plan.profile.name, *profile);
  }
  for (const std::string& domain : plan.domains) {
    const auto put = importer.PutDomain(domain, plan.profile.name);
    if (!put) return put.error();
    report.made.emplace_back("domain " + domain, *put);
  }
  for (const migration::PlannedKey& key : plan.keys) report.keys.push_back(importer.PutKey(key, key.active));
  auto policy = importer.PolicyFor(plan);
  if (!policy) return policy.error();
  if (!*policy) return {};
  report.policy = policy::PolicyText(**policy);
  if (options.policy_out.empty() || report.dry_run) return {};
  auto written = policy_out.Write(report.policy);
  if (written) written = policy_out.Keep();
  if (written) report.policy_file = options.policy_out;
  return written;
}

// Before anything is done: that there is room for the policy under the name that was given.
Answer<void> BeginPolicy(const Options& options, NewFile& file) {
  if (options.policy_out.empty()) return {};
  if (!options.import.dry_run) return file.Begin();
  std::error_code ignored;
  if (!std::filesystem::exists(options.policy_out, ignored)) return {};
  return Failed(options.policy_out + ": exists; name a new file");
}

Outcome Finish(const Context& context, const Options& options, const migration::Plan& plan) {
  NewFile policy_out(options.policy_out, NewFileMode());
  if (const auto begun = BeginPolicy(options, policy_out); !begun) return begun.error();
  auto importer = KeyImporter::Open(context, options.import);
  if (!importer) return importer.error();
  Report report;
  if (const auto done = CarryOut(*importer, plan, options, policy_out, report); !done) report.failure = done.error();
  Print(context, ReportText(report), ReportJson(report));
  if (options.import.activate) {
    for (const std::string& domain : importer->SignedByEd25519Alone(plan.domains)) Complain(Ed25519AloneText(domain));
  }
  if (report.failure) return *report.failure;
  const bool all = std::all_of(report.keys.begin(), report.keys.end(), [](const ImportedKey& key) { return key.good; });
  return all ? ExitCode::kDone : ExitCode::kFailed;
}

Outcome ImportPem(const Context& context, const Options& options) {
  const auto domain = dkim::NormalizeDomain(options.domain);
  if (!domain) return WrongUsage("--domain: " + domain.error().message);
  const Status selector = dkim::ValidateSelector(options.selector);
  if (!selector) return WrongUsage("--selector: " + selector.error().message);
  migration::Plan plan;
  plan.profile.name.clear();  // that of the domain
  plan.domains = {*domain};
  plan.author_domains = {*domain};
  plan.keys.push_back({*domain, options.selector, {options.path, {}}, true, {options.path, 0}});
  return Finish(context, options, plan);
}

// A pipe would never end, and a folder has no text.
Result<std::string> ReadConfig(const std::filesystem::path& path) {
  std::error_code failed;
  const auto type = std::filesystem::status(path, failed).type();
  if (type == std::filesystem::file_type::not_found)
    return MakeError(Reason::kNotFound, path.string() + ": no such file");
  if (type != std::filesystem::file_type::regular) {
    return MakeError(Reason::kInvalidArgument, path.string() + ": not a regular file");
  }
  return ReadFile(path, kMostConfigOctets);
}

// Reads what the configuration names, below --root where that is given.
class ConfigFiles {
 public:
  ConfigFiles(std::filesystem::path root, std::filesystem::path folder)
      : root_(std::move(root)), folder_(std::move(folder)) {}

  std::string Locate(const std::string& path) const {
    const std::filesystem::path named(path);
    if (path.starts_with(folder_.string() + "/")) return path;  // beside the configuration
    if (named.is_absolute()) return root_.empty() ? path : (root_ / named.relative_path()).string();
    return (folder_ / named).string();
  }
  migration::Files Functions() {
    return {[this](const std::string& path) { return Read(path); },
            [this](const std::string& path) { return List(path); }};
  }

 private:
  Result<std::string> Read(const std::string& path) {
    if (++files_read_ > kMostConfigFiles) {
      return MakeError(Reason::kInvalidArgument, path + ": the configuration names more than 1000 files");
    }
    return ReadConfig(Locate(path));
  }
  Result<std::vector<std::string>> List(const std::string& path) const {
    std::error_code failed;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator at(Locate(path), failed), end; !failed && at != end;
         at.increment(failed)) {
      names.push_back(at->path().filename().string());
    }
    if (failed) {
      const bool none = failed == std::errc::no_such_file_or_directory;
      return MakeError(none ? Reason::kNotFound : Reason::kIoFailed, path + ": cannot list: " + failed.message());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  const std::filesystem::path root_, folder_;
  std::size_t files_read_ = 0;
};

using Reader = Result<migration::Plan> (*)(const std::string& path, const migration::Files& files);

// `file`: what is read where a folder is named; empty: the folder itself.
Outcome ImportConfiguration(const Context& context, const Options& options, const std::string& file, Reader reader) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(options.path, ignored);
  const bool folder = std::filesystem::is_directory(path, ignored);
  if (folder && !file.empty()) path /= file;
  ConfigFiles files(options.root.empty() ? std::filesystem::path() : std::filesystem::absolute(options.root, ignored),
                    folder && file.empty() ? path : path.parent_path());
  const migration::Files functions = files.Functions();
  // The configuration itself was named on the command line: it is where it says.
  const migration::Files first{
      [&](const std::string& name) { return name == path.string() ? ReadConfig(path) : functions.read(name); },
      functions.list};
  auto plan = reader(path.string(), first);
  if (!plan) return FromError(plan.error());
  for (migration::PlannedKey& key : plan->keys) {
    if (!key.key.path.empty()) key.key.path = files.Locate(key.key.path);
  }
  if (!options.profile.empty()) plan->profile.name = options.profile;
  const Status valid = dkim::ValidateProfile(plan->profile);
  if (!valid) return Failed("the field lists cannot be carried over: " + valid.error().message);
  return Finish(context, options, *plan);
}

using Shared = std::shared_ptr<Options>;

void AddImportOptions(CLI::App& command, Context& context, const Shared& options) {
  command.add_option("--token", options->import.token, "The token [first of the configuration]")->type_name("NAME");
  CLI::Option* activate = command.add_flag("--activate", options->import.activate, "Also sign with what signs now");
  // Only who activates looks.
  command.add_flag("--unpublished", options->import.unpublished, "Do not look for the records in DNS")->needs(activate);
  command.add_flag("--dry-run", options->import.dry_run, "Say what would be done, and do nothing");
  command.add_option("--policy-out", options->policy_out, "Where the policy that is needed goes [printed]")
      ->type_name("FILE");
  AddTimeout(command, context);
}

void AddConfigurationOptions(CLI::App& command, const Shared& options) {
  command.add_option("--root", options->root, "Where a copy of the other host's files is")->type_name("DIR");
  command.add_option("--profile", options->profile, "The signing profile to make")->type_name("NAME");
}

}  // namespace

void AddImportCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "import", "Move here from OpenDKIM, rspamd or key files",
                             "dkimctl import opendkim /etc/opendkim.conf --dry-run\n"
                             "dkimctl import rspamd /etc/rspamd --dry-run\n"
                             "dkimctl import pem mail.private --domain example.com --selector mail");
  const auto options = std::make_shared<Options>();
  CLI::App* pem = AddCommand(*group, context, "pem", "Put one private key into the token",
                             "dkimctl import pem mail.private --domain example.com --selector mail\n"
                             "dkimctl import pem e.key --domain example.com --selector e1 --activate",
                             [&context, options] { return ImportPem(context, *options); });
  pem->add_option("FILE", options->path, "PEM, DER or base64: RSA or Ed25519")->required()->type_name("");
  pem->add_option("--domain", options->domain, "The signing domain (d=)")->required()->type_name("DOMAIN");
  pem->add_option("--selector", options->selector, "The selector (s=)")->required()->type_name("NAME");
  AddImportOptions(*pem, context, options);

  CLI::App* opendkim =
      AddCommand(*group, context, "opendkim", "Take over domains and keys of OpenDKIM",
                 "dkimctl import opendkim /etc/opendkim.conf --dry-run\n"
                 "dkimctl import opendkim /etc/opendkim.conf --activate\n"
                 "dkimctl import opendkim copy/etc/opendkim.conf --root copy",
                 [&context, options] {
                   return ImportConfiguration(context, *options, "opendkim.conf", &migration::PlanFromOpenDkim);
                 });
  opendkim->add_option("CONF", options->path, "opendkim.conf, or the folder that has it")->required()->type_name("");
  AddImportOptions(*opendkim, context, options);
  AddConfigurationOptions(*opendkim, options);

  CLI::App* rspamd = AddCommand(
      *group, context, "rspamd", "Take over domains and keys of rspamd",
      "dkimctl import rspamd /etc/rspamd --dry-run\n"
      "dkimctl import rspamd /etc/rspamd/local.d/dkim_signing.conf --activate",
      [&context, options] { return ImportConfiguration(context, *options, "", &migration::PlanFromRspamd); });
  rspamd->add_option("CONF", options->path, "/etc/rspamd, or a dkim_signing.conf")->required()->type_name("");
  AddImportOptions(*rspamd, context, options);
  AddConfigurationOptions(*rspamd, options);
}

}  // namespace hallmark::ctl
