#include "tools/relay-client/message_reader.h"

namespace hallmark::relay {
namespace {

dkim::Canonicalization ToDkim(Canonicalization canonicalization) {
  return canonicalization == Canonicalization::kSimple ? dkim::Canonicalization::kSimple
                                                       : dkim::Canonicalization::kRelaxed;
}

}  // namespace

MessageReader::MessageReader(const Settings& settings)
    : most_octets_(settings.message_octets), body_(ToDkim(settings.body_canonicalization)) {
  content_.whole = settings.send_message;
  content_.body_canonicalization = settings.body_canonicalization;
}

void MessageReader::Feed(std::string_view octets) {
  if (content_.failure) return;
  if (content_.whole) {
    if (octets.size() > most_octets_ - content_.octets.size()) {
      Fail("MESSAGE_TOO_LARGE", "the message has more than " + std::to_string(most_octets_) +
                                    " octets, the most that is kept to be sent whole");
      return;
    }
    content_.octets.append(octets);
    return;
  }
  if (!header_.done()) {
    const auto taken = header_.Push(octets);
    if (!taken) {
      Fail("HEADER_TOO_LARGE", taken.error().message);
      return;
    }
    content_.octets.append(octets.substr(0, *taken));
    octets.remove_prefix(*taken);
  }
  body_.Push(octets);
}

MessageReader::Content MessageReader::Finish() && {
  if (!content_.whole && !content_.failure) {
    content_.body = body_.Finish();
    content_.body_facts = body_.facts();
  }
  return std::move(content_);
}

void MessageReader::Fail(const char* reason, std::string message) {
  content_.failure = Failure{FailureKind::kRefused, reason, std::move(message), {}};
  content_.octets = {};
}

}  // namespace hallmark::relay
