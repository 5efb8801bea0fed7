#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "firmware/runtime/result.h"
#include "signerd/dns/nameserver.h"
#include "signerd/dns/tsig_key.h"

namespace hallmark::dns {

struct UpdaterOptions {
  Nameserver server;
  // Unset: updates are not signed, and neither have the answers to be.
  std::optional<TsigKey> key;
  // How long one question or update may take.
  std::chrono::milliseconds timeout{3000};
  // How often it is tried when there is no answer, or when the records change meanwhile; at least 1.
  std::uint8_t attempts = 2;
};

// Publishes TXT records by dynamic update (RFC 2136) at one name server, over TCP. What an update may touch is part of
// the update itself, as prerequisites, so that a record that someone else put there meanwhile is never overwritten.
// The zone is found by asking that server; it has to be authoritative for the name.
//
// A call blocks for at most timeout x attempts x (3 + the name's labels). Not thread-safe; distinct objects are
// independent. Errors of both methods:
//   kRecordConflict   something that is not ours is at the name; says what (shortened). Nothing was changed.
//   kDnsRefused       the server will not, until somebody changes something; says what and where: NOTAUTH, REFUSED,
//                     BADKEY, BADSIG, BADTIME, ... or an answer without a good signature.
//   kDnsUnavailable   no usable answer for now: no connection, time-out, SERVFAIL. The update may have been done.
//   kInvalidArgument  not a domain name, or a value that no TXT record can hold.
class Updater {
 public:
  // kInvalidArgument where an option will not do. Asks nothing.
  static Result<Updater> Create(UpdaterOptions options);

  // Makes the TXT record set at `name` exactly one record `value` (cut into strings of 255 octets) with `ttl` seconds.
  // Only where there is none, or each record there is one of `ours` or `value` itself; an alias is a conflict.
  // Idempotent: does nothing where it is so already.
  Status PutTxt(const std::string& name, const std::string& value, std::uint32_t ttl,
                std::span<const std::string> ours);

  // Removes the TXT record set at `name`, only where each record of it is one of `ours`. Nothing there is success.
  Status RemoveTxt(const std::string& name, std::span<const std::string> ours);

 private:
  explicit Updater(UpdaterOptions options) : options_(std::move(options)) {}
  UpdaterOptions options_;
};

}  // namespace hallmark::dns
