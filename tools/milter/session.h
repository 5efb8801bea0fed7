#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firmware/runtime/result.h"
#include "tools/milter/answer.h"
#include "tools/milter/frame.h"
#include "tools/milter/macros.h"
#include "tools/milter/outbound.h"
#include "tools/milter/tally.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::milter {

// How messages are told apart and what becomes of them; the same for all connections.
struct SessionSettings {
  OutboundRules outbound;
  std::vector<PartnerRule> partners;
  Choices on;
  relay::Settings signerd;
};

// One conversation with an MTA: packets in, packets out. Knows nothing of sockets and of time, and waits for nothing; a
// message is canonicalized and hashed as its packets come. Not thread-safe.
class Session {
 public:
  // Both must outlive it.
  Session(const SessionSettings& settings, Tally& tally);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  enum class Next : std::uint8_t {
    kRead,   // the next packet
    kSign,   // first have TakeMessage() signed, then Signed()
    kClose,  // the MTA said goodbye
  };
  // Appends the answer to `out`, where one is due. kInvalidArgument where the MTA does not keep to the protocol: the
  // connection is to be closed, since nothing that follows can be relied upon.
  Result<Next> Take(const Frame& frame, std::string& out);

  relay::Message TakeMessage();
  void Signed(const relay::Outcome& outcome, std::string& out);
  // The MTA's name for the message that was handed over last; printable ASCII.
  const std::string& queue_id() const { return queue_id_; }

  // Whether there is a message under way, which an end of the connection would cost the MTA.
  bool InMessage() const { return message_.has_value() || state_ == State::kSigning; }

 private:
  enum class State : std::uint8_t { kStart, kBetween, kLeftAlone, kEnvelope, kBody, kSigning };

  Status Negotiate(std::string_view data, std::string& out);
  void Connect(std::string_view data, std::string& out);
  Status Mail(std::string_view data, std::string& out);
  Status InEnvelope(Command command, std::string_view data, std::string& out);
  Status Recipient(std::string_view data);
  void Header(std::string_view data);
  void BeginBody();
  void LeaveReinjected(std::string& out);
  void RefuseCut(std::string& out);
  void NotSigned(const relay::Failure& failure, std::string& out);
  void DropMessage();
  void EndMessage(State next);
  void EndConnection();
  void AnswerUnless(std::uint32_t no_reply, std::string& out) const;

  const SessionSettings& settings_;
  Tally& tally_;
  State state_ = State::kStart;
  std::uint32_t steps_ = 0;  // negotiated
  Peer peer_;
  Macros macros_;
  std::optional<relay::Message> message_;
  Origin origin_ = Origin::kOutside;  // of the message
  bool reinjected_ = false;           // it came from this host, and from another one before
  std::string cut_field_;             // the name of one that is longer than the MTA showed it
  std::size_t recipient_octets_ = 0;
  std::size_t recipients_left_out_ = 0;
  std::string queue_id_;
};

}  // namespace hallmark::milter
