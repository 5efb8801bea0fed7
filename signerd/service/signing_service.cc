#include "signerd/service/signing_service.h"

#include <algorithm>

#include "signerd/admission/admission.h"
#include "signerd/service/signing_call.h"

namespace hallmark::service {
namespace {

constexpr std::chrono::seconds kLongestWait{30};
constexpr std::size_t kMaxRequestId = 128;
constexpr int kMaxRecipients = 10'000;
// Above every message; sums with it stay in 64 bits.
constexpr std::uint64_t kMaxBodyOctets = std::uint64_t{1} << 50;

using UnaryCall = SigningCall<grpc::ServerUnaryReactor>;

Status CheckOptions(const api::SignOptions& options) {
  const std::string& id = options.request_id();
  if (id.size() > kMaxRequestId || !std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < '\x7f'; })) {
    return MakeError(Reason::kInvalidArgument,
                     "request_id: expected at most 128 printable ASCII characters without spaces");
  }
  if (options.envelope_recipients_size() > kMaxRecipients) {
    return MakeError(Reason::kInvalidArgument, "envelope_recipients: expected at most 10000");
  }
  return Ok();
}

api::Algorithm ToApi(dkim::Algorithm algorithm) {
  switch (algorithm) {
    case dkim::Algorithm::kRsaSha256: return api::ALGORITHM_RSA_SHA256;
    case dkim::Algorithm::kEd25519Sha256: return api::ALGORITHM_ED25519_SHA256;
  }
  return api::ALGORITHM_UNSPECIFIED;
}

Result<dkim::Canonicalization> FromApi(api::Canonicalization canonicalization) {
  if (canonicalization == api::CANONICALIZATION_SIMPLE) return dkim::Canonicalization::kSimple;
  if (canonicalization == api::CANONICALIZATION_RELAXED) return dkim::Canonicalization::kRelaxed;
  return MakeError(Reason::kInvalidArgument, "body_canonicalization: expected SIMPLE or RELAXED");
}

std::string_view WarningName(dkim::WarningCode code) {
  using enum dkim::WarningCode;
  switch (code) {
    case kLongLine: return "LONG_LINE";
    case kBareLf: return "BARE_LF";
    case kBareCr: return "BARE_CR";
    case kNoFinalCrlf: return "NO_FINAL_CRLF";
    case kBodyLengthTag: return "BODY_LENGTH_TAG";
    case kTightAddressList: return "TIGHT_ADDRESS_LIST";
    case kEarlyExpiry: return "EARLY_EXPIRY";
    case kFewerSignatures: return "FEWER_SIGNATURES";
  }
  std::abort();  // Unreachable: codes come only from this program.
}

Result<dkim::BodyFacts> FromApi(const api::BodyFacts& facts) {
  if (facts.octets() > kMaxBodyOctets) return MakeError(Reason::kInvalidArgument, "body_facts: octets: at most 2^50");
  for (const std::uint64_t figure : {facts.bare_lf(), facts.bare_cr(), facts.longest_line()}) {
    if (figure > facts.octets())
      return MakeError(Reason::kInvalidArgument, "body_facts: no figure is above its octets");
  }
  return dkim::BodyFacts{
      {facts.bare_lf(), facts.bare_cr()}, facts.ends_without_crlf(), facts.octets(), facts.longest_line()};
}

Result<pipeline::ClaimedBody> ClaimedFrom(const api::SignDigestRequest& request) {
  const auto canonicalization = FromApi(request.body_canonicalization());
  if (!canonicalization) return canonicalization.error();
  pipeline::ClaimedBody body{*canonicalization, {}, {}, {}};
  if (request.body_hash().size() != body.hash.size()) {
    return MakeError(Reason::kInvalidArgument,
                     "body_hash: expected 32 octets, found " + std::to_string(request.body_hash().size()));
  }
  std::copy(request.body_hash().begin(), request.body_hash().end(), body.hash.begin());
  if (request.has_body_length()) body.length = request.body_length();
  if (body.length > kMaxBodyOctets) return MakeError(Reason::kInvalidArgument, "body_length: at most 2^50");
  if (request.has_body_facts()) {
    const auto facts = FromApi(request.body_facts());
    if (!facts) return facts.error();
    body.facts = *facts;
  }
  return body;
}

Result<pipeline::HashedMessage> HashedFrom(const api::SignDigestRequest& request, const pipeline::Origin& origin,
                                           const pipeline::Reception& reception) {
  const auto body = ClaimedFrom(request);
  if (!body) return body.error();
  return pipeline::TakeDigest(origin, reception, request.header(), *body);
}

}  // namespace

Result<pipeline::Origin> AdmitCall(const SigningService::Parts& parts, const grpc::CallbackServerContext& context,
                                   const api::SignOptions& options) {
  if (parts.drain.closed) return MakeError(Reason::kShuttingDown, "the daemon is stopping");
  const Status valid = CheckOptions(options);
  if (!valid) return valid.error();
  auto snapshot = parts.snapshot.Get();
  const auto peer = parts.transport.Admit(*context.auth_context());
  if (!peer) return peer.error();
  const auto relay = admission::AdmitCaller(*snapshot, (*peer)->identities);
  if (!relay) return relay.error();
  return pipeline::Origin{std::move(snapshot),
                          *relay,
                          options.signing_domain(),
                          options.partner(),
                          {options.request_id(),
                           options.envelope_sender(),
                           {options.envelope_recipients().begin(), options.envelope_recipients().end()}},
                          (*peer)->fingerprint};
}

tokens::Deadline DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto now = std::chrono::system_clock::now();
  const auto wait = context.deadline() > now + kLongestWait ? kLongestWait : context.deadline() - now;
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(wait);
}

Status CheckSize(std::size_t octets, std::size_t most) {
  if (octets <= most) return Ok();
  return MakeError(Reason::kMessageTooLarge, "the message has " + std::to_string(octets) + " octets, the limit is " +
                                                 std::to_string(most) + ": use SignLarge or SignDigest");
}

void FillResponse(const pipeline::SignedMessage& made, const std::string& request_id, bool clock_not_set,
                  api::SignResponse& response) {
  response.set_signing_domain(made.signing_domain);
  response.set_request_id(request_id);
  for (const pipeline::MadeSignature& signature : made.signatures) {
    api::Signature& entry = *response.add_signatures();
    entry.set_header_field(signature.field);
    entry.set_selector(signature.selector);
    entry.set_algorithm(ToApi(signature.algorithm));
    entry.set_body_hash(signature.body_hash.data(), signature.body_hash.size());
  }
  for (const dkim::Warning& warning : made.warnings) {
    api::Warning& entry = *response.add_warnings();
    entry.set_code(std::string(WarningName(warning.code)));
    entry.set_message(warning.message);
  }
  if (clock_not_set) {
    api::Warning& entry = *response.add_warnings();
    entry.set_code("CLOCK_NOT_SET");
    entry.set_message("the signer's clock is not synchronised, so the time in the signature may be wrong");
  }
}

grpc::ServerUnaryReactor* SigningService::Sign(grpc::CallbackServerContext* context, const api::SignRequest* request,
                                               api::SignResponse* response) {
  auto* call = UnaryCall::Make<UnaryCall>(response);
  const Status size = CheckSize(request->message().size(), parts_.message_octets);
  auto origin = AdmitCall(parts_, *context, request->options());
  if (!origin || !size) {
    parts_.pipeline.NoteRefusal(origin ? &*origin : nullptr, origin ? size.error().reason : origin.error().reason);
    call->Refuse(origin ? size.error() : origin.error());
  } else {
    call->Submit(parts_, std::move(*origin), std::string_view(request->message()), DeadlineOf(*context),
                 request->options().request_id());
  }
  return call;
}

grpc::ServerUnaryReactor* SigningService::SignDigest(grpc::CallbackServerContext* context,
                                                     const api::SignDigestRequest* request,
                                                     api::SignResponse* response) {
  auto* call = UnaryCall::Make<UnaryCall>(response);
  auto origin = AdmitCall(parts_, *context, request->options());
  if (!origin) {
    parts_.pipeline.NoteRefusal(nullptr, origin.error().reason);
    call->Refuse(origin.error());
    return call;
  }
  auto hashed = HashedFrom(*request, *origin, parts_.pipeline.reception());
  if (!hashed) {
    parts_.pipeline.NoteRefusal(&*origin, hashed.error().reason);
    call->Refuse(hashed.error());
  } else {
    call->Submit(parts_, std::move(*origin), std::move(*hashed), DeadlineOf(*context), request->options().request_id());
  }
  return call;
}

}  // namespace hallmark::service
