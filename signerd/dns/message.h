#pragma once

#include <span>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dns/ldns_handles.h"

namespace hallmark::dns {

// Questions and answers on the wire, by ldns. Pure: any thread.

// kInvalidArgument: not a domain name.
Result<Rdf> ParseName(const std::string& name);

enum class Asking {
  kServer,          // an authoritative server: RD=0
  kServerDnssec,    // the same with DO=1, for signatures
  kResolver,        // RD=1
  kResolverDnssec,  // RD=1, DO=1, and CD=1: what does not verify is wanted too
};

// A query with a random id and EDNS.
Bytes MakeQuery(const ldns_rdf* name, ldns_rr_type type, Asking asking);

// Parses `wire` where it is an answer to `query`: same id, opcode and question. kDnsUnavailable otherwise.
Result<Packet> ParseAnswer(ByteView query, ByteView wire);

// As ParseAnswer, but also checks that it is a complete answer with code NOERROR or NXDOMAIN. kDnsUnavailable.
Result<Packet> ParseUsableAnswer(ByteView query, ByteView wire);

// Whether the message says that it is only a part; false for what is no message.
bool IsTruncated(ByteView wire);

// Whether the record has every field of its type: ldns takes one from the wire that stops between two.
bool IsWhole(const ldns_rr* record);

// The whole records of a section at `owner` with `type`.
std::vector<const ldns_rr*> Select(const ldns_rr_list* section, const ldns_rdf* owner, ldns_rr_type type);

// The strings of a TXT record, joined without anything between them (RFC 6376 section 3.6.2.2).
std::string TxtValue(const ldns_rr* record);

// A TXT record of `value`, cut into strings of 255 octets.
Record MakeTxt(const ldns_rdf* owner, std::uint32_t ttl, std::string_view value);

// The record's TTL; one with the highest bit set counts as zero (RFC 2181 section 8).
std::uint32_t TtlOf(const ldns_rr* record);

// For messages: quoted, what cannot be printed as \DDD, cut after 60 octets.
std::string Shortened(std::string_view value);

}  // namespace hallmark::dns
