#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/dns/nameserver.h"

namespace hallmark::dns {

struct ObserverOptions {
  // Who is asked where a name's zone, its servers and their addresses are; unset: those of /etc/resolv.conf. An
  // authoritative server will do where it has every zone on the way.
  std::optional<Nameserver> resolver;
  // Where the authoritative servers listen; another one for tests and split set-ups.
  std::uint16_t port = 53;
  // How long one question may take, and how often it is asked; at least 1.
  std::chrono::milliseconds timeout{3000};
  std::uint8_t attempts = 2;
  // DS or DNSKEY records as in a zone file, of the root or any zone; empty: nothing is validated.
  std::filesystem::path trust_anchor;
  // What signatures of DNSSEC are valid by; null: the system's time. Outlives the observer.
  const Clock* clock = nullptr;
};

// What one address said over one transport.
struct ServerAnswer {
  enum class Kind {
    kRecord,  // the TXT records in `values`
    kNone,    // there are none, or not where the other servers have them
    kSilent,  // no usable answer: time-out, SERVFAIL, REFUSED, not authoritative, an answer to something else ...
    kBogus,   // an answer that does not verify (DNSSEC)
  };
  std::string server;  // "ns1.example.net. 192.0.2.1 UDP"; the name alone where it has no address
  Kind kind = Kind::kSilent;
  std::vector<std::string> values;  // in order of octets
  std::string detail;               // why, for people; may be empty with kRecord
  std::chrono::seconds ttl{0};      // of the records
};

struct Observation {
  std::string name;                  // where the record is: after the chain of aliases
  std::vector<std::string> aliases;  // the names on the way there, the one asked for first; empty where there is none
  // Every server of the last name's zone over UDP and TCP. Of the zones on the way, those that do not send to where the
  // others do: a server that has the record itself is kRecord, one with another alias or none is kNone.
  std::vector<ServerAnswer> servers;
  std::chrono::seconds longest_ttl{0};  // of all records that were seen, aliases too
  std::chrono::seconds negative_ttl{
      0};               // how long "there is none" is kept (RFC 2308 section 5); the longest on the way
  bool secure = false;  // every zone on the way has a validated chain of trust
};

// Whether the file will do as a trust anchor: kConfigInvalid, kNotFound, kIoFailed. Any thread.
Status CheckTrustAnchor(const std::filesystem::path& file);

// Asks every authoritative server of a name directly, over UDP and TCP and all at once, and follows CNAME and DNAME,
// each at the servers of its own zone.
//
// With a trust anchor, an answer from a zone below it must verify (RFC 4035), else it is kBogus; a zone whose parent
// proves with NSEC or NSEC3 that it is not signed is taken as it is, and `secure` is false. Not checked: the proof that
// a name does not exist (kNone is believed), and the one that a wildcard was rightly expanded.
//
// Addresses of a family that this host has no route for are left out where the server has others.
// Not thread-safe; distinct objects are independent. A call blocks for at most five times timeout x attempts, however
// many questions it has to ask one after the other: servers that there is no time left for are kSilent.
class Observer {
 public:
  // kInvalidArgument, kIoFailed (/etc/resolv.conf), kConfigInvalid (trust anchor).
  static Result<Observer> Create(ObserverOptions options);
  Observer(Observer&&) noexcept;
  Observer& operator=(Observer&&) noexcept;
  ~Observer();

  // kInvalidArgument: not a domain name. kDnsUnavailable: the resolver does not say where to ask, or the aliases go in
  // a circle or too far.
  Result<Observation> ObserveTxt(const std::string& name);

 private:
  class Walk;
  struct State;
  explicit Observer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hallmark::dns
