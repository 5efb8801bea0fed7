#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dns/exchange.h"
#include "signerd/dns/message.h"

namespace hallmark::dns {

// Asks the resolver. A resolver that does not answer is followed by the next one, where there are several, and is asked
// last from then on. Not thread-safe.
class Lookup {
 public:
  struct Options {
    std::optional<Nameserver> resolver;  // unset: those of /etc/resolv.conf
    std::chrono::milliseconds timeout;
    unsigned attempts;
    bool dnssec = false;  // signatures are wanted too
  };
  struct Query {
    const ldns_rdf* name;
    ldns_rr_type type;
  };

  // kInvalidArgument when an option will not do, kIoFailed when /etc/resolv.conf cannot be read or names no server.
  static Result<Lookup> Create(const Options& options);

  // The answer, with code NOERROR or NXDOMAIN. kDnsUnavailable otherwise, with the question in the sentence.
  Result<Packet> Ask(const ldns_rdf* name, ldns_rr_type type);
  // For all questions from now on: none is waited for any longer.
  void SetDeadline(std::chrono::steady_clock::time_point deadline) { deadline_ = deadline; }

  // All at once, in their order.
  std::vector<Result<Packet>> AskAll(std::span<const Query> queries);

 private:
  Lookup(Options options, std::vector<Nameserver> servers) : options_(options), servers_(std::move(servers)) {}
  std::vector<Result<Packet>> AskServer(const Nameserver& server, std::span<const Query> queries);
  Options options_;
  std::vector<Nameserver> servers_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace hallmark::dns
