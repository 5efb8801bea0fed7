#include "tools/relay-client/request.h"

#include <openssl/rand.h>

#include <array>
#include <utility>

#include "firmware/runtime/encoding.h"
#include "tools/relay-client/digest_body.h"

namespace hallmark::relay {
namespace {

// What travels in one request at most: the least that signing.message_octets may be. What is larger every signerd takes
// in chunks.
constexpr std::size_t kOneRequest = 1u << 16;

std::string Utf8(std::string text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t octets = Utf8Octets(std::string_view(text).substr(i));
    if (octets == 0) text[i] = '?';
    i += octets == 0 ? 1 : octets;
  }
  return text;
}

std::string MakeRequestId() {
  std::array<std::uint8_t, 16> octets{};
  // Without an id a retry may be signed twice, which is no harm to the message.
  if (RAND_bytes(octets.data(), static_cast<int>(octets.size())) != 1) return "";
  return HexEncode(octets);
}

signing::v1::SignOptions ToApi(MessageOptions options) {
  signing::v1::SignOptions api;
  api.set_signing_domain(Utf8(std::move(options.signing_domain)));
  api.set_partner(Utf8(std::move(options.partner)));
  api.set_envelope_sender(Utf8(std::move(options.envelope_sender)));
  for (std::string& recipient : options.envelope_recipients) {
    api.add_envelope_recipients(Utf8(std::move(recipient)));
  }
  api.set_request_id(options.request_id.empty() ? MakeRequestId() : Utf8(std::move(options.request_id)));
  return api;
}

signing::v1::SignDigestRequest DigestRequest(MessageReader::Content content, signing::v1::SignOptions options) {
  signing::v1::SignDigestRequest request;
  request.set_header(std::move(content.octets));
  SetBody(content.body, content.body_facts, request);
  request.set_body_canonicalization(content.body_canonicalization == Canonicalization::kSimple
                                        ? signing::v1::CANONICALIZATION_SIMPLE
                                        : signing::v1::CANONICALIZATION_RELAXED);
  *request.mutable_options() = std::move(options);
  return request;
}

}  // namespace

Request MakeRequest(MessageReader::Content content, MessageOptions options) {
  signing::v1::SignOptions api = ToApi(std::move(options));
  if (!content.whole) return DigestRequest(std::move(content), std::move(api));
  if (content.octets.size() > kOneRequest) return LargeMessage{std::move(api), std::move(content.octets)};
  signing::v1::SignRequest request;
  request.set_message(std::move(content.octets));
  *request.mutable_options() = std::move(api);
  return request;
}

}  // namespace hallmark::relay
