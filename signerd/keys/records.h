#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/public_key.h"
#include "signerd/store/rotation_rows.h"

// What keys needs of the DNS, and what it makes of it. main.cc supplies the interfaces.
namespace hallmark::keys {

inline constexpr std::string_view kManual = "manual";

// Puts key records into DNS. Any thread; calls wait for the server. kDnsUnavailable: later, perhaps; kDnsRefused;
// kRecordConflict: the name has a record that is not ours, and it was left alone.
class RecordPublisher {
 public:
  virtual ~RecordPublisher() = default;
  // Not of "manual", which is an operator.
  virtual bool HasPublisher(const std::string& publisher) const = 0;
  // Makes `value` the one TXT record at `name`, where there is none or one of `ours`. Safe to repeat.
  virtual Status Put(const std::string& publisher, const std::string& name, const std::string& value,
                     std::chrono::seconds ttl, std::span<const std::string> ours) = 0;
  // Takes the record away if it is one of `ours`. Safe to repeat.
  virtual Status Remove(const std::string& publisher, const std::string& name, std::span<const std::string> ours) = 0;
};

// What one authoritative server was seen to answer.
struct ServerView {
  enum class Kind : std::uint8_t { kRecords, kNone, kSilent, kBogus };
  std::string server;  // "ns1.example.net. 192.0.2.1 UDP"
  Kind kind = Kind::kSilent;
  std::vector<std::string> values;  // TXT, the strings of each joined
  std::string detail;
};

struct RecordView {
  std::vector<ServerView> servers;
  std::chrono::seconds longest_ttl{}, negative_ttl{};
};

class RecordObserver {
 public:
  virtual ~RecordObserver() = default;
  // Asks every authoritative server for the TXT records of `name`, through aliases. kDnsUnavailable where even the
  // servers are not known. Any thread; waits.
  virtual Result<RecordView> Observe(const std::string& name) = 0;
};

// What a record must say.
enum class Expected : std::uint8_t { kKey, kRevoked, kNothing };

struct Verdict {
  bool everywhere = false;    // every server says what is expected
  bool contradicted = false;  // some server says something else, or nothing where something is expected
  std::string problem;        // the first server that does not, and what it says
};
Verdict Judge(const RecordView& view, const dkim::PublicKey& key, Expected expected);

// "expected", "absent", "other", "silent" or "bogus".
std::string_view Says(const ServerView& server, const dkim::PublicKey& key, Expected expected);

// Whether `value` is a usable record of this key.
bool IsRecordOf(const std::string& value, const dkim::PublicKey& key);

// Whether it has an empty p=: of whose key, it does not say.
bool IsRevokedRecord(const std::string& value);
// Whether any server has such a record.
bool SaysRevoked(const RecordView& view);

// The key that a record gives to verifiers.
Result<dkim::PublicKey> PublishedKey(const std::string& value);

// SELECTOR._domainkey.DOMAIN, where verifiers look.
std::string RecordName(const snapshot::Key& key);
// Where the record itself is kept: there, or in the zone that the domain delegates to.
std::string PublishedName(const snapshot::Key& key, const store::RotationPolicy& policy);
// All values that this daemon may have put there.
std::vector<std::string> OwnValues(const dkim::PublicKey& key);

}  // namespace hallmark::keys
