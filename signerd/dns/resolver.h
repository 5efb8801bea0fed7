#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dns/nameserver.h"

namespace hallmark::dns {

class Lookup;

struct ResolverOptions {
  // Unset: those of /etc/resolv.conf.
  std::optional<Nameserver> nameserver;
  // How long one attempt at one server may take.
  std::chrono::milliseconds timeout{3000};
  // Attempts at each server, at least 1.
  std::uint8_t attempts = 2;
};

// kSpf is the obsolete type 99 (RFC 7208 section 3.1).
enum class RecordType : std::uint8_t { kTxt, kA, kAaaa, kMx, kSpf };
std::string_view RecordTypeName(RecordType type);  // "TXT"

// What the DNS says of one name and one type.
struct Answer {
  // TXT and SPF: the strings of each record joined without anything between them (RFC 6376 section 3.6.2.2). A and
  // AAAA: the address. MX: the host in lower case without the final dot; empty for the null MX (RFC 7505). None: there
  // are no records of this type.
  std::vector<std::string> values;
  // False: NXDOMAIN, for the name itself or for where its aliases lead.
  bool exists = true;
  // Where a chain of CNAMEs ends, without the final dot. Empty when the name is no alias.
  std::string alias;
  // The first CNAME was made of a DNAME above the name (RFC 6672): at the name itself there is nothing.
  bool by_dname = false;
};

// Looks up records. A lookup blocks for at most timeout x attempts x servers, for each link of a chain of CNAMEs.
// Not thread-safe; distinct objects are independent.
class Resolver {
 public:
  // kInvalidArgument when an option will not do, kIoFailed when /etc/resolv.conf cannot be read or names no server.
  static Result<Resolver> Create(const ResolverOptions& options);

  // `name` needs no final dot. Follows CNAMEs, and asks again over TCP when an answer was truncated. That there is no
  // record is an answer. kInvalidArgument: not a domain name. kIoFailed: no usable answer (time-out, SERVFAIL, REFUSED
  // ...); it may come later.
  Result<Answer> Lookup(const std::string& name, RecordType type);

  // The TXT records alone: kNotFound when the name, or a TXT record of it, does not exist.
  Result<std::vector<std::string>> LookupTxt(const std::string& name);

  Resolver(Resolver&&) noexcept;
  Resolver& operator=(Resolver&&) noexcept;
  ~Resolver();

 private:
  explicit Resolver(std::unique_ptr<dns::Lookup> lookup);
  std::unique_ptr<dns::Lookup> lookup_;
};

}  // namespace hallmark::dns
