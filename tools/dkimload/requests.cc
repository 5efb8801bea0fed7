#include "tools/dkimload/requests.h"

#include "hallmark/signing/v1/signing.pb.h"
#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/header.h"
#include "tools/dkimctl/inputs.h"
#include "tools/dkimctl/message_source.h"

namespace hallmark::load {
namespace {

constexpr char kService[] = "/hallmark.signing.v1.SigningService/";

ctl::Answer<std::string> WholeMessage(const std::string& message, const signing::v1::SignOptions& options) {
  signing::v1::SignRequest request;
  request.set_message(message);
  *request.mutable_options() = options;
  return request.SerializeAsString();
}

ctl::Answer<std::string> Digest(const std::string& message, const signing::v1::SignOptions& options) {
  dkim::HeaderReader header;
  const auto header_size = header.Push(message);
  if (!header_size) return ctl::FromError(header_size.error());
  dkim::BodyHasher hasher(dkim::Canonicalization::kRelaxed);
  hasher.Push(std::string_view(message).substr(*header_size));
  const dkim::BodyHash hash = hasher.Finish();
  signing::v1::SignDigestRequest request;
  request.set_header(message.substr(0, *header_size));
  request.set_body_hash(hash.digest.data(), hash.digest.size());
  request.set_body_length(hash.length);
  request.set_body_canonicalization(signing::v1::CANONICALIZATION_RELAXED);
  *request.mutable_options() = options;
  return request.SerializeAsString();
}

}  // namespace

ctl::Answer<Requests> PrepareRequests(const Options& options) {
  const auto inputs = ctl::ListInputs(options.files);
  if (!inputs) return inputs.error();
  constexpr const char* kNames[] = {"Sign", "SignStream", "SignDigest"};
  Requests requests;
  requests.path = std::string(kService) + kNames[static_cast<int>(options.method)];
  signing::v1::SignOptions sign_options;
  sign_options.set_signing_domain(options.domain);
  for (const ctl::Input& input : *inputs) {
    const auto source = ctl::MessageSource::Open(input.path);
    if (!source) return source.error();
    const auto message = source->ReadAll();
    if (!message) return message.error();
    const auto request =
        options.method == Method::kDigest ? Digest(*message, sign_options) : WholeMessage(*message, sign_options);
    if (!request) return ctl::Failed(input.path + ": " + request.error().message);
    requests.slices.emplace_back(*request);
    requests.message_octets += message->size();
  }
  return requests;
}

}  // namespace hallmark::load
