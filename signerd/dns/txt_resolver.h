#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dns/nameserver.h"

struct ldns_struct_resolver;

namespace hallmark::dns {

struct ResolverOptions {
  // Unset: those of /etc/resolv.conf.
  std::optional<Nameserver> nameserver;
  // How long one attempt at one server may take.
  std::chrono::milliseconds timeout{3000};
  // Attempts at each server, at least 1.
  std::uint8_t attempts = 2;
};

// Looks up TXT records. A lookup blocks for at most timeout x attempts x servers, for each link of a chain of CNAMEs.
// Not thread-safe; distinct objects are independent.
class TxtResolver {
 public:
  // kInvalidArgument when an option will not do, kIoFailed when /etc/resolv.conf cannot be read or names no server.
  static Result<TxtResolver> Create(const ResolverOptions& options);

  // The TXT records of `name` (no final dot needed), the strings of each record joined without anything between them
  // (RFC 6376 section 3.6.2.2). Follows CNAMEs, and asks again over TCP when an answer was truncated.
  // kNotFound: the name, or a TXT record of it, does not exist. kInvalidArgument: not a domain name.
  // kIoFailed: no usable answer (time-out, SERVFAIL, REFUSED ...); it may come later.
  Result<std::vector<std::string>> LookupTxt(const std::string& name);

 private:
  struct Free {
    void operator()(ldns_struct_resolver* resolver) const;
  };
  explicit TxtResolver(ldns_struct_resolver* resolver) : resolver_(resolver) {}
  std::unique_ptr<ldns_struct_resolver, Free> resolver_;
};

}  // namespace hallmark::dns
