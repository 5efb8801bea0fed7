#include "tools/dkimload/requests.h"

#include "hallmark/signing/v1/signing.pb.h"
#include "tools/dkimctl/inputs.h"
#include "tools/dkimctl/message_source.h"
#include "tools/dkimctl/sign_calls.h"

namespace hallmark::load {
namespace {

constexpr char kService[] = "/hallmark.signing.v1.SigningService/";
// signing.message_octets as shipped: of more, Sign is refused, and on a stream all that is under way fails with it.
constexpr std::uint64_t kMostInOneRequest = 64u << 20;

ctl::Answer<std::string> WholeMessage(const ctl::MessageSource& source, const signing::v1::SignOptions& options) {
  if (source.size() > kMostInOneRequest) return ctl::Failed("larger than signerd takes at once; use --method digest");
  auto message = source.ReadAll();
  if (!message) return message.error();
  signing::v1::SignRequest request;
  request.set_message(std::move(*message));
  *request.mutable_options() = options;
  return request.SerializeAsString();
}

ctl::Answer<std::string> Digest(const ctl::MessageSource& source, const signing::v1::SignOptions& options) {
  constexpr std::size_t kPiece = 65536;
  auto request = ctl::MakeDigest(source, kPiece, dkim::Canonicalization::kRelaxed);
  if (!request) return request.error();
  *request->mutable_options() = options;
  return request->SerializeAsString();
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
    const auto request =
        options.method == Method::kDigest ? Digest(*source, sign_options) : WholeMessage(*source, sign_options);
    if (!request) return ctl::Failed(input.path + ": " + request.error().message);
    requests.slices.emplace_back(*request);
    requests.message_octets += source->size();
  }
  return requests;
}

}  // namespace hallmark::load
