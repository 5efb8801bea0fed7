#include <algorithm>
#include <chrono>
#include <map>

#include "signerd/dkim/verifier.h"
#include "signerd/dns/key_file.h"
#include "tools/dkimctl/command.h"
#include "tools/dkimctl/dns_access.h"
#include "tools/dkimctl/inputs.h"
#include "tools/dkimctl/message_source.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string key_file, nameserver;
};

// Where keys come from: the file, or the DNS asked once for each name.
Answer<dkim::KeyLookup> MakeLookup(const Options& options) {
  if (!options.key_file.empty()) {
    auto file = dns::KeyFile::Load(options.key_file);
    if (!file) return FromError(file.error());
    return dkim::KeyLookup([file = std::make_shared<dns::KeyFile>(std::move(*file))](const std::string& name) {
      return file->LookupTxt(name);
    });
  }
  auto resolver = OpenResolver(options.nameserver);
  if (!resolver) return resolver.error();
  using Answers = std::map<std::string, hallmark::Result<std::vector<std::string>>>;
  return dkim::KeyLookup(
      [resolver = std::move(*resolver), known = std::make_shared<Answers>()](const std::string& name) {
        const auto found = known->find(name);
        if (found != known->end()) return found->second;
        return known->emplace(name, resolver->LookupTxt(name)).first->second;
      });
}

using Verdicts = std::vector<dkim::SignatureVerdict>;

bool AllPass(const Verdicts& verdicts) {
  return !verdicts.empty() && std::all_of(verdicts.begin(), verdicts.end(), [](const dkim::SignatureVerdict& verdict) {
    return verdict.verdict == dkim::Verdict::kPass;
  });
}

Json ToJson(const std::string& path, const Verdicts& verdicts) {
  Json signatures = Json::Array();
  for (const auto& verdict : verdicts) {
    signatures.Add(Json::Object()
                       .Set("domain", Json::Text(verdict.domain))
                       .Set("selector", Json::Text(verdict.selector))
                       .Set("algorithm", Json::Text(verdict.algorithm))
                       .Set("canonicalization", Json::Text(verdict.canonicalization))
                       .Set("verdict", Json::Text(std::string(dkim::VerdictName(verdict.verdict))))
                       .Set("reason", Json::Text(verdict.reason))
                       .Set("body_hash", Json::Text(verdict.body_hash)));
  }
  return Json::Object().Set("file", Json::Text(path)).Set("signatures", std::move(signatures));
}

// `text` over lines that start with `indent` blanks.
std::string Indented(const std::string& text, std::size_t indent) {
  std::string lines;
  for (const std::string& line : Wrap(OneLine(text), Table::kColumns - indent))
    lines += std::string(indent, ' ') + line + "\n";
  return lines;
}

// The file; below it each signature, and why it did not verify.
std::string ToText(const std::string& path, const Verdicts& verdicts) {
  std::string text = Indented(path, 0);
  if (verdicts.empty()) text += Indented("none: the message has no signature", 2);
  for (const auto& verdict : verdicts) {
    std::string line(dkim::VerdictName(verdict.verdict));
    if (!verdict.algorithm.empty()) line += " " + verdict.algorithm;
    if (!verdict.domain.empty()) line += " d=" + verdict.domain + " s=" + verdict.selector;
    text += Indented(line, 2);
    if (!verdict.reason.empty()) text += Indented(verdict.reason, 4);
  }
  return text;
}

Answer<Verdicts> VerifyOne(const std::string& path, const dkim::KeyLookup& lookup) {
  const auto source = MessageSource::Open(path);
  if (!source) return source.error();
  const auto message = source->ReadAll();
  if (!message) return message.error();
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  auto verdicts = dkim::VerifyMessage(*message, lookup, now);
  if (!verdicts)
    return Failed(path + ": " + std::string(ReasonName(verdicts.error().reason)) + ": " + verdicts.error().message);
  return std::move(*verdicts);
}

Outcome Verify(const Context& context, const Options& options) {
  const auto lookup = MakeLookup(options);
  if (!lookup) return lookup.error();
  const auto inputs = ListInputs(options.files);
  if (!inputs) return inputs.error();
  std::string text;
  Json files = Json::Array();
  std::int64_t verified = 0;
  bool unreadable = false;
  for (const Input& input : *inputs) {
    const auto verdicts = VerifyOne(input.path, *lookup);
    if (!verdicts) {
      Complain(verdicts.error().message);
      files.Add(ToJson(input.path, {}).Set("error", Json::Text(verdicts.error().message)));
      unreadable = true;
      continue;
    }
    if (AllPass(*verdicts)) ++verified;
    text += ToText(input.path, *verdicts);
    if (context.json()) files.Add(ToJson(input.path, *verdicts));
  }
  const auto total = static_cast<std::int64_t>(inputs->size());
  const std::string summary = "\n" + std::to_string(verified) + " of " + std::to_string(total) + " verified\n";
  Print(context, text + (total > 1 ? summary : ""),
        Json::Object()
            .Set("files", std::move(files))
            .Set("verified", Json::Number(verified))
            .Set("not_verified", Json::Number(total - verified)));
  if (unreadable) return ExitCode::kFailed;
  return verified == total ? ExitCode::kDone : ExitCode::kNotVerified;
}

}  // namespace

void AddVerifyCommand(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* verify = AddCommand(app, context, "verify", "Verify the DKIM signatures of messages",
                                "dkimctl verify signed.eml\n"
                                "dkimctl verify signed --key-file keys.txt\n"
                                "dkimctl verify signed.eml --nameserver 127.0.0.1:5353 --output json",
                                [&context, options] { return Verify(context, *options); });
  verify->add_option("FILE", options->files, "Messages; folders are walked; - is stdin")->required()->type_name("FILE");
  CLI::Option* file =
      verify->add_option("--key-file", options->key_file, "Key records, NAME TXT VALUE lines [the DNS]");
  file->type_name("FILE");
  AddNameserver(*verify, options->nameserver)->excludes(file);
}

}  // namespace hallmark::ctl
