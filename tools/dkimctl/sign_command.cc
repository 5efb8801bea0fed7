#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "firmware/runtime/encoding.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/inputs.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/new_file.h"
#include "tools/dkimctl/progress.h"
#include "tools/dkimctl/sign_calls.h"
#include "tools/dkimctl/sign_stream.h"
#include "tools/dkimctl/signed_output.h"

namespace hallmark::ctl {
namespace {

using signing::v1::SignResponse;

// What one request may carry; above it a message goes in chunks whatever the mode. On a stream only what every signerd
// takes: one request that is too large for it ends the stream for all of them.
constexpr std::uint64_t kMostInOneRequest = 32u << 20, kMostOnAStream = 1u << 20;
constexpr std::size_t kMostInOneChunk = 3u << 20;

struct Options {
  std::vector<std::string> files;
  std::string out, mode = "sign", body = "relaxed";
  signing::v1::SignOptions request;
  std::string domain, partner, sender;
  std::vector<std::string> recipients;
  std::size_t chunk = 64u << 10;
  std::size_t concurrency = 8;
  bool header_only = false;
};

// What became of one input.
struct Result {
  std::string output;  // where the signed message is; empty when it was not written to a file
  std::optional<SignResponse> response;
  std::optional<Failure> failure;
};

// Signs the inputs, some at a time. One for each run of the command.
class Run {
 public:
  Run(const Options& options, const Endpoint& endpoint, std::chrono::milliseconds timeout)
      : options_(options), channel_(OpenChannel(endpoint)), calls_(channel_, endpoint.server, timeout) {
    if (options.mode == "stream") stream_.emplace(channel_, endpoint.server, timeout);
  }

  // In the order of the inputs. `quiet`: the messages themselves are not written to standard output.
  std::vector<Result> All(const std::vector<Input>& inputs, bool quiet) {
    std::vector<Result> results(inputs.size());
    Progress progress(inputs.size());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < inputs.size(); i = next++) {
        results[i] = One(inputs[i], quiet);
        progress.Tick(!results[i].failure);
      }
    };
    std::vector<std::jthread> workers;
    for (std::size_t i = 1; i < std::min(options_.concurrency, inputs.size()); ++i) workers.emplace_back(work);
    work();
    workers.clear();  // joins them
    return results;
  }

 private:
  Result One(const Input& input, bool quiet) {
    Result result;
    const auto source = MessageSource::Open(input.path);
    if (!source) {
      result.failure = source.error();
      return result;
    }
    const auto response = Sign(*source);
    if (!response) {
      result.failure = response.error();
      result.failure->message = input.path + ": " + result.failure->message;
      return result;
    }
    result.response = *response;
    Answer<void> written;
    if (!options_.out.empty()) {
      result.output = (std::filesystem::path(options_.out) / input.name).string();
      written = WriteSignedToFile(*source, *response, result.output, mode_);
    } else if (!quiet) {
      written = WriteSignedToStdout(*source, *response);
    }
    if (!written) result.failure = written.error();
    return result;
  }

  Answer<SignResponse> Sign(const MessageSource& source) {
    if (options_.mode == "digest") {
      const auto body = options_.body == "simple" ? dkim::Canonicalization::kSimple : dkim::Canonicalization::kRelaxed;
      return calls_.SignDigest(source, options_.request, options_.chunk, body);
    }
    if (options_.mode == "large" || source.size() > (stream_ ? kMostOnAStream : kMostInOneRequest)) {
      return calls_.SignLarge(source, options_.request, options_.chunk);
    }
    if (!stream_) return calls_.Sign(source, options_.request);
    auto message = source.ReadAll();
    if (!message) return message.error();
    signing::v1::SignRequest request;
    request.set_message(std::move(*message));
    *request.mutable_options() = options_.request;
    return stream_->Sign(std::move(request));
  }

  const Options& options_;
  const mode_t mode_ = NewFileMode();  // of the signed messages
  std::shared_ptr<grpc::Channel> channel_;
  SignCalls calls_;
  std::optional<SignStream> stream_;
};

Json ToJson(const Input& input, const Result& result) {
  Json json = Json::Object();
  json.Set("file", Json::Text(input.path));
  if (!result.output.empty()) json.Set("output", Json::Text(result.output));
  if (result.failure) {
    json.Set("error", Json::Object()
                          .Set("reason", Json::Text(result.failure->reason))
                          .Set("message", Json::Text(result.failure->message)));
    return json;
  }
  json.Set("signing_domain", Json::Text(result.response->signing_domain()));
  Json signatures = Json::Array();
  for (const auto& signature : result.response->signatures()) {
    signatures.Add(Json::Object()
                       .Set("selector", Json::Text(signature.selector()))
                       .Set("algorithm", Json::Text(NameOf(signature.algorithm())))
                       .Set("body_hash", Json::Text(Base64Encode(AsBytes(signature.body_hash()))))
                       .Set("header_field", Json::Text(signature.header_field())));
  }
  json.Set("signatures", std::move(signatures));
  Json warnings = Json::Array();
  for (const auto& warning : result.response->warnings()) warnings.Add(Json::Message(warning));
  return json.Set("warnings", std::move(warnings));
}

void ComplainAbout(const Input& input, const Result& result) {
  if (result.failure) return Complain(result.failure->message);
  for (const auto& warning : result.response->warnings()) {
    Complain(input.path + ": warning: " + warning.code() + ": " + warning.message());
  }
}

// kUnavailable only when nothing but that stood in the way: then the same command may do it later.
ExitCode CodeOf(const std::vector<Result>& results) {
  ExitCode code = ExitCode::kDone;
  for (const Result& result : results) {
    if (result.failure && code != ExitCode::kFailed) code = result.failure->code;
  }
  return code;
}

Outcome Report(const Context& context, const Options& options, const std::vector<Input>& inputs,
               const std::vector<Result>& results) {
  const auto failed =
      std::count_if(results.begin(), results.end(), [](const Result& result) { return result.failure.has_value(); });
  const auto signed_count = static_cast<std::ptrdiff_t>(results.size()) - failed;
  Json files = Json::Array();
  std::string headers;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ComplainAbout(inputs[i], results[i]);
    if (context.json()) files.Add(ToJson(inputs[i], results[i]));
    if (options.header_only && results[i].response) headers += HeaderFields(*results[i].response);
  }
  if (context.json()) {
    PrintOut(Json::Object()
                 .Set("files", std::move(files))
                 .Set("signed", Json::Number(signed_count))
                 .Set("failed", Json::Number(failed))
                 .Dump());
  } else if (options.header_only) {
    PrintOut(headers);
  } else if (!options.out.empty()) {
    PrintOut("signed " + std::to_string(signed_count) + (signed_count == 1 ? " message" : " messages") + " into " +
             options.out + (failed == 0 ? "" : ", " + std::to_string(failed) + " failed") + "\n");
  }
  return CodeOf(results);
}

Outcome Sign(const Context& context, Options options) {
  if (!context.as.empty()) return WrongUsage("--as: a relay signs, and no operator; dkimctl.toml names it");
  const auto inputs = ListInputs(options.files);
  if (!inputs) return inputs.error();
  const bool quiet = context.json() || options.header_only;
  if (inputs->size() > 1 && options.out.empty() && !quiet) {
    return WrongUsage("more than one message: say where they go with --out DIR (or --header-only, or --output json)");
  }
  if (!options.out.empty()) {
    if (const auto distinct = CheckNames(*inputs); !distinct) return distinct.error();
    if (const auto apart = CheckTargets(*inputs, options.out); !apart) return apart.error();
  }
  const auto config = LoadClientConfig(context.Directory());
  if (!config) return config.error();
  options.request.set_signing_domain(options.domain);
  options.request.set_partner(options.partner);
  options.request.set_envelope_sender(options.sender);
  for (const std::string& recipient : options.recipients) options.request.add_envelope_recipients(recipient);
  Run run(options, config->signing, Timeout(context));
  return Report(context, options, *inputs, run.All(*inputs, quiet));
}

std::string CheckMode(const std::string& mode) {
  if (mode == "sign" || mode == "stream" || mode == "large" || mode == "digest") return "";
  return "\"" + mode + "\" is no mode; expected sign, stream, large or digest";
}

std::string CheckBody(const std::string& name) {
  return name == "simple" || name == "relaxed" ? ""
                                               : "\"" + name + "\" is no canonicalization; expected simple or relaxed";
}

}  // namespace

void AddSignCommand(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* sign = AddCommand(app, context, "sign", "Sign messages, as a relay does",
                              "dkimctl sign message.eml > signed.eml\n"
                              "dkimctl sign --header-only message.eml\n"
                              "dkimctl sign outbox --out signed --concurrency 16\n"
                              "dkimctl sign --mode digest --domain example.com - < message.eml",
                              [&context, options] { return Sign(context, *options); });
  sign->add_option("FILE", options->files, "Messages; folders are walked; - is stdin")->required()->type_name("FILE");
  sign->add_option("--out", options->out, "Write signed messages into DIR")->type_name("DIR");
  sign->add_flag("--header-only", options->header_only, "Print the new header fields only");
  sign->add_option("--domain", options->domain, "Signing domain [from the author's]")->type_name("DOMAIN");
  sign->add_option("--partner", options->partner, "On whose behalf")->type_name("NAME");
  sign->add_option("--sender", options->sender, "Envelope sender, for the record")->type_name("ADDRESS");
  sign->add_option("--recipient", options->recipients, "Envelope recipient (repeat)")
      ->type_name("ADDRESS")
      ->expected(1)
      ->take_all();
  sign->add_option("--mode", options->mode, "sign (default), stream, large, digest")
      ->type_name("MODE")
      ->check(CheckMode);
  sign->add_option("--chunk", options->chunk, "Octets in a chunk: large, digest [65536]")
      ->type_name("OCTETS")
      ->check(CLI::Range(std::size_t{1}, kMostInOneChunk).description(""));
  sign->add_option("--concurrency", options->concurrency, "Messages in flight [8]")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{1}, std::size_t{256}).description(""));
  sign->add_option("--body-canonicalization", options->body, "In mode digest [relaxed]")
      ->type_name("NAME")
      ->check(CheckBody);
  AddTimeout(*sign, context);
  sign->remove_option(sign->get_option("--as"));
}

}  // namespace hallmark::ctl
