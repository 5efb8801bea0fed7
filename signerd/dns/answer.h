#pragma once

#include <chrono>
#include <string>

#include "firmware/runtime/result.h"
#include "signerd/dns/ldns_handles.h"
#include "signerd/dns/observer.h"

namespace hallmark::dns {

// What an answer of a zone's server is judged by.
struct Context {
  const ldns_rdf* name;      // asked for TXT
  const ldns_rdf* apex;      // of the zone
  const ldns_rr_list* keys;  // that it is signed with; null where it is not, or where that does not matter
  std::chrono::sys_seconds now;
  std::string broken;  // why the zone, which should be signed, has no keys to trust; empty where it is not so
};

struct Said {
  ServerAnswer answer;  // `server` is left to the caller; kNone where `target` is set
  Rdf target;           // where an alias sends on to; null without one
  std::chrono::seconds longest_ttl{0};
};

// What `wire`, or that there is none, says about the TXT records of context.name. Pure: any thread.
Said Interpret(const Bytes& query, const Result<Bytes>& wire, const Context& context);

}  // namespace hallmark::dns
