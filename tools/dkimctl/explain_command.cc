#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "signerd/dkim/header.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/message_source.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = admin::v1::PolicyService::Stub;
using admin::v1::ExplainDecisionResponse;

constexpr std::size_t kPiece = 64u << 10;

struct Options {
  std::string file, relay, partner, domain;
  std::uint32_t recipients = 0;
};

// The header of the message as it stands, the blank line included. The body stays here. Of a header that is too large
// it is so much that signerd finds it too large as well, and says so among the other rules.
Answer<std::string> HeaderOf(const MessageSource& source) {
  dkim::HeaderReader reader;
  std::string header;
  const auto read = source.ForEach(kPiece, [&](std::string_view piece) {
    const auto taken = reader.Push(piece);
    header += piece.substr(0, taken ? *taken : piece.size());
    return taken && !reader.done();
  });
  if (!read) return read.error();
  return header;
}

const char* Mark(ExplainDecisionResponse::Outcome outcome) {
  if (outcome == ExplainDecisionResponse::PASSED) return "passed";
  return outcome == ExplainDecisionResponse::REFUSED ? "REFUSED" : "-";
}

std::string Verdict(const ExplainDecisionResponse& answer) {
  if (!answer.allowed()) return "refused: " + answer.reason() + "\n";
  std::string text = "signed for " + answer.signing_domain() + " with";
  for (const std::string& selector : answer.selectors()) text += " " + selector;
  return text + ", as partner " + answer.partner() + "\n";
}

Outcome Explain(const Context& context, const Options& options) {
  const auto source = MessageSource::Open(options.file);
  if (!source) return source.error();
  auto header = HeaderOf(*source);
  if (!header) return header.error();
  admin::v1::ExplainDecisionRequest request;
  request.set_relay(options.relay);
  request.set_partner(options.partner);
  request.set_signing_domain(options.domain);
  request.set_header(std::move(*header));
  request.set_octets(source->size());
  request.set_recipients(options.recipients);
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->Call(&Stub::ExplainDecision, request);
  if (!answer) return answer.error();
  Table table({"RULE", "OUTCOME", "WHY"});
  for (const auto& step : answer->steps()) table.Add({step.rule(), Mark(step.outcome()), step.message()});
  Print(context, table.Render() + "\n" + Verdict(*answer), Json::Message(*answer));
  return answer->allowed() ? ExitCode::kDone : ExitCode::kNotVerified;
}

}  // namespace

void AddExplainCommand(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App* explain = AddCommand(app, context, "explain", "Say how a message would be decided on",
                                 "dkimctl explain message.eml --relay relay1\n"
                                 "dkimctl explain message.eml --relay relay1 --partner acme \\\n"
                                 "    --signing-domain acme.example --recipients 3",
                                 [&context, options] { return Explain(context, *options); });
  explain->add_option("FILE", options->file, "The message; - is stdin")->required()->type_name("FILE");
  explain->add_option("--relay", options->relay, "The relay that would ask")->required()->type_name("NAME");
  explain->add_option("--partner", options->partner, "On whose behalf [as for the relay]")->type_name("NAME");
  explain->add_option("--signing-domain", options->domain, "Signing domain [from the author's]")->type_name("DOMAIN");
  explain->add_option("--recipients", options->recipients, "How many the envelope has [0]")->type_name("N");
  AddTimeout(*explain, context);
}

}  // namespace hallmark::ctl
