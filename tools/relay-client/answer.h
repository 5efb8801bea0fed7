#pragma once

#include "hallmark/signing/v1/signing.pb.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

// Whether each signature of signerd's answer is one DKIM-Signature field with nothing behind it, and there is one: they
// are put before the message as they are. Any thread.
bool HasSignatures(const signing::v1::SignResponse& response);

// What a relay is given of such an answer. Any thread.
Outcome ToOutcome(signing::v1::SignResponse response);

}  // namespace hallmark::relay
