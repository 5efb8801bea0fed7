#pragma once

// Signs a relay's messages at Hallmark. A message is canonicalized and hashed here as it comes, so what travels is its
// header and 32 octets, whatever its size.
//
//     auto connection = hallmark::relay::Client::Connect(settings);
//     auto message = connection.client->Open({.envelope_sender = "alice@example.com"});
//     message.Feed("From: alice@example.com\r\n\r\nHel");  // cut anywhere
//     message.Feed("lo\r\n");
//     auto outcome = connection.client->Finish(std::move(message));
//     for (const auto& signature : outcome.signatures) out << signature.header_field;  // before the first field, in
//     this order
//
// Nothing throws but std::bad_alloc. This header needs nothing but the standard library.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#if defined(__GNUC__)
#define HALLMARK_RELAY_API __attribute__((visibility("default")))
#else
#define HALLMARK_RELAY_API
#endif

namespace hallmark::relay {

// RFC 6376 section 3.4.
enum class Canonicalization : std::uint8_t { kSimple, kRelaxed };

struct Settings {
  // Where signerd listens, each "HOST:PORT" or "[IPv6]:PORT"; at least one. They take turns; one that does not answer,
  // or says that it cannot sign, is passed over until it can.
  std::vector<std::string> servers;
  // What the servers' certificates must say. Empty: each one's host.
  std::string server_name;
  // PEM files: who signs the servers' certificates, this relay's certificate chain, and its private key. Read again
  // when they change; Connect() refuses what is not usable.
  std::string ca, certificate, private_key;
  // How the body is canonicalized; signatures say so in c=.
  Canonicalization body_canonicalization = Canonicalization::kRelaxed;
  // The whole message travels, for a signerd that is to see it; it is then kept in memory until Finish, up to
  // message_octets.
  bool send_message = false;
  std::uint64_t message_octets = 64u << 20;
  // How long Finish may take, with all that it tries again: 100 ms to 600 s. One server gets half of it while another
  // is ready, and signerd itself gives each attempt 30 s at most.
  std::chrono::milliseconds timeout{20000};
};

// What is said beside one message (SignOptions of the API).
struct MessageOptions {
  std::string signing_domain;   // d=; empty: from the author domain
  std::string partner;          // empty: as signerd's policy says
  std::string envelope_sender;  // MAIL FROM without brackets; empty for a bounce
  std::vector<std::string> envelope_recipients;
  // At most 128 printable ASCII characters without spaces; empty: one is made, so that a retry is safe.
  std::string request_id;
};

struct Signature {
  // Folded, with its final line end; line ends as in the message's header. To be written unchanged.
  std::string header_field;
  std::string selector;
  std::string algorithm;  // "rsa-sha256" or "ed25519-sha256"; empty: one of later versions
};

struct Warning {
  std::string code;     // "LONG_LINE", ... (docs/api.md)
  std::string message;  // for a person
};

// What a relay makes of a failure.
enum class FailureKind : std::uint8_t {
  kUnavailable,  // no server answered, or none can sign now, or none knows this relay: the signer's trouble
  kLimited,      // more than the partner may send now: later
  kRefused,      // this message is not signed, now or later
};

struct Failure {
  FailureKind kind = FailureKind::kUnavailable;
  // Of the API ("DOMAIN_NOT_ALLOWED", docs/api.md), or of this library: UNREACHABLE, no server answered; TIMEOUT;
  // CANCELLED; and INVALID_SETTINGS, STATE_CONFLICT, NO_THREAD, MESSAGE_TOO_LARGE, HEADER_TOO_LARGE.
  std::string reason;
  // For a person.
  std::string message;
  std::optional<std::chrono::milliseconds> retry_after;
};

struct Outcome {
  std::vector<Signature> signatures;
  std::string signing_domain;
  std::vector<Warning> warnings;
  std::optional<Failure> failure;  // then there are no signatures

  explicit operator bool() const { return !failure; }
};

// One message on its way. Takes its octets in order, cut anywhere; memory is constant but for the header. Line ends
// should be CRLF. Not thread-safe; distinct messages are independent.
class HALLMARK_RELAY_API Message {
 public:
  // Like Client::Open, for whoever has no client. Of `settings` only what concerns a message is used.
  Message(const Settings& settings, MessageOptions options);
  Message(Message&&) noexcept;
  Message& operator=(Message&&) noexcept;
  ~Message();

  // Raw RFC 5322 octets, without dot-stuffing. A message that cannot be signed any more takes them too, and Finish says
  // why.
  void Feed(std::string_view octets);
  // May be changed until Finish: a recipient may come late.
  MessageOptions& options();

 private:
  friend class Client;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// How a server is seen from here.
struct ServerHealth {
  std::string server;
  bool ready = false;  // connected, and its health service says SERVING
};

// Connections to signerd. Thread-safe. Its destructor waits for calls under way, which have their own time limit.
class HALLMARK_RELAY_API Client {
 public:
  struct Connection;
  // Reads and checks the files; connects when it is first needed. INVALID_SETTINGS with a sentence that names what is
  // wrong; STATE_CONFLICT while the files are being replaced, NO_THREAD where the system has none to give: try again.
  static Connection Connect(const Settings& settings);
  ~Client();

  Message Open(MessageOptions options) const;

  // Signs it. Waits up to Settings::timeout, but while no server is ready only for 3 s; and as long for a server that
  // was ready until lately, where another one does not know the domain.
  Outcome Finish(Message message);
  // The same without waiting: `done` is called once, on a thread of this library, and must neither wait nor destroy the
  // client.
  void Finish(Message message, std::function<void(Outcome)> done);

  // Ends the calls under way, and those to come: CANCELLED, unless the signatures are there already. For whoever is to
  // end sooner than Settings::timeout; does not wait, the destructor does.
  void Cancel();

  // Connects where there is no connection. Does not wait.
  std::vector<ServerHealth> Health();

 private:
  struct Parts;
  explicit Client(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct Client::Connection {
  std::unique_ptr<Client> client;  // null on failure
  std::optional<Failure> failure;
};

}  // namespace hallmark::relay
