#pragma once

#include <string>
#include <string_view>

#include "tools/milter/tally.h"
#include "tools/relay-client/relay_client.h"

// What the MTA is told of a message that could not be signed. Pure.
namespace hallmark::milter {

enum class Choice : std::uint8_t { kTempfail, kAccept, kReject };

// The [on] table.
struct Choices {
  Choice unavailable = Choice::kTempfail;
  Choice refused = Choice::kReject;
  Choice unconfigured = Choice::kAccept;
};

Trouble TroubleOf(const relay::Failure& failure);
Choice Choose(const Choices& choices, Trouble trouble);

// One line of printable ASCII, whoever wrote `text`: for a reply and for the log. Without '%', which MTAs take for a
// format, and not longer than a reply has room for.
std::string Printable(std::string_view text);

// An SMTP reply line with an enhanced code (RFC 3463): "451 4.3.0 ...". What a server of ours said is only passed on
// where the sender can do something about it. Printable ASCII.
std::string ReplyText(Choice choice, const relay::Failure& failure);

}  // namespace hallmark::milter
