#pragma once

#include <string>

#include "firmware/runtime/result.h"
#include "signerd/dns/ldns_handles.h"
#include "signerd/dns/tsig_key.h"

namespace hallmark::dns {

// Transaction signatures (RFC 8945), by ldns. Pure but for the time: any thread. For each one ldns decodes the secret
// into memory of its own, which it frees without wiping it.

// Signs `packet` as a request; its signature is then part of it. kInternal.
Status SignRequest(ldns_pkt* packet, const TsigKey& key);

// Checks the signature of the answer to `request`, which SignRequest signed; `wire` is the answer as it came.
// kDnsRefused says what is wrong and what to do about it: BADKEY, BADSIG, BADTIME, no signature, or one that does not
// verify.
Status CheckAnswer(const ldns_pkt* request, ldns_pkt* answer, ByteView wire, const TsigKey& key);

}  // namespace hallmark::dns
