#include <strings.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "firmware/runtime/log.h"
#include "milter_conversation.h"
#include "tools/relay-client/message_parts.h"

// An MTA's octets: as they are, or as commands that are made into packets. Whatever it says, each command gets the
// answer that the negotiation promised and no other, what is signed is the message under way and nothing else, and it
// does not matter how the octets were cut.

namespace {

using namespace hallmark;
using namespace hallmark::milter;

// The outcome is chosen by the message; a failure says what the message said.
relay::Outcome Sign(const Handed& handed);

// What the MTA knows, kept apart from the session: a second opinion.
class Mta {
 public:
  explicit Mta(const SessionSettings& settings) : settings_(settings) {}

  void Take(char command, std::string_view data, std::string_view answer, const std::vector<Handed>& handed,
            bool broken) {
    const std::string codes = Codes(answer);
    CheckWhole(answer);
    if (command == 'O' && codes == "O") Negotiated(data, Answers(answer).front().second);
    CheckCodes(command, codes, broken);
    if (broken) {
      Check(codes.empty(), "what breaks the protocol is not answered");
      return;
    }
    Remember(command, data, codes);
    Follow(command, data, codes);
    if (command == 'E' && message_) {
      if (message_->traced && local_) {
        Check(codes == "a", "what this host has from another is left alone");
      } else {
        Check(handed.size() == ++handed_, "the end of a message hands it over, once");
        CheckHanded(handed.back());
        CheckEnd(codes, answer);
      }
      message_.reset();
    }
    Check(handed.size() == handed_, "only the end of a message hands one over");
  }

  std::uint64_t mails() const { return mails_; }

 private:
  struct UnderWay {
    std::string text, sender;
    std::vector<std::string> recipients;
    bool in_body = false, traced = false;  // traced: it has a Received field
  };

  static void CheckWhole(std::string_view answer) {
    std::size_t octets = 0;
    for (const auto& [code, data] : Answers(answer)) octets += 5 + data.size();
    Check(octets == answer.size(), "answers are whole packets");
  }

  void Negotiated(std::string_view offer, std::string_view answer) {
    const auto field = [](std::string_view data, std::size_t at) { return ReadU32(data.substr(4 * at)); };
    Check(field(answer, 0) >= 2 && field(answer, 0) <= std::min(field(offer, 0), 6u), "a version that both have");
    Check((field(answer, 1) & ~field(offer, 1)) == 0, "no action that was not offered");
    Check((field(answer, 2) & ~field(offer, 2)) == 0, "no step that was not offered");
    Check((field(answer, 1) & 1) != 0, "header fields are added");
    steps_ = field(answer, 2);
    asked_for_ = (field(answer, 1) & 0x100) != 0;
  }

  // How many answers the command gets, and of what kind.
  void CheckCodes(char command, const std::string& codes, bool broken) const {
    const auto finals = std::count_if(codes.begin(), codes.end(), [](char code) { return code != 'i'; });
    Check(codes.find_first_not_of("Ociay") == std::string::npos, "an answer of the protocol");
    Check(finals <= 1 && (finals == 0 || codes.back() != 'i'), "one answer at most, and last");
    if (codes.find('i') != std::string::npos) Check(command == 'E', "nothing is inserted before the end");
    if (broken) return;
    constexpr std::pair<char, std::uint32_t> kPromised[] = {{'C', 0x1000},  {'H', 0x2000},  {'M', 0},    {'R', 0x8000},
                                                            {'T', 0x10000}, {'U', 0x20000}, {'L', 0x80}, {'N', 0x40000},
                                                            {'B', 0x80000}, {'E', 0},       {'O', 0}};
    const auto* row = std::ranges::find(kPromised, command, &std::pair<char, std::uint32_t>::first);
    const bool due = row != std::end(kPromised) && (steps_ & row->second) == 0;
    Check(finals == (due ? 1 : 0), "an answer where one is due, and nowhere else");
  }

  void Follow(char command, std::string_view data, const std::string& codes) {
    const std::string_view first = data.substr(0, data.find('\0'));
    if (command == 'M') Alone(data, codes);
    const auto path = [&] {
      std::string text(first);
      if (text.starts_with('<')) text.erase(0, 1);
      if (text.ends_with('>')) text.pop_back();
      return text;
    };
    if (command == 'A' || command == 'K' || command == 'O' || command == 'C' || command == 'Q') message_.reset();
    if (command == 'M') {
      ++mails_;
      message_.reset();
      if (codes == "c") message_.emplace(UnderWay{{}, path(), {}});
    }
    if (!message_) return;
    if (command == 'R') message_->recipients.push_back(path());
    if (command == 'L') Field(data);
    if ((command == 'N' || command == 'B' || command == 'E') && !std::exchange(message_->in_body, true))
      message_->text += "\r\n";
    if (command == 'B' || command == 'E') message_->text += data;
  }

  // What says of a message where it comes from: the packets of its connection, and its own macros.
  void Remember(char command, std::string_view data, const std::string& codes) {
    const char stage = command == 'D' && !data.empty() ? data.front() : '\0';
    const auto forget = [this](char which) {
      std::erase_if(connection_, [=](const std::string& packet) { return packet[4] == which; });
    };
    if (command == 'K' || command == 'O') connection_.clear();
    if (command == 'C') forget('C');
    if (stage == 'C') forget('D');
    const bool ended = command == 'A' || command == 'Q' || command == 'K' || command == 'O' || command == 'C';
    if (ended || stage == 'C' || stage == 'M') macros_.clear();
    if (command == 'C' || stage == 'C' || stage == 'H') {
      connection_.push_back(Packet(command, data));
    } else if (command == 'D' && !data.empty()) {
      macros_.push_back(Packet(command, data));
    }
    if (command == 'M') mail_macros_ = std::exchange(macros_, {});
    if (command == 'M' && codes == "c") macros_ = mail_macros_;
    if (command == 'E') macros_.clear();
  }

  // The same message in a conversation of its own has the same fate. Says its partner, and whether it is this host's.
  void Alone(std::string_view mail, const std::string& codes) {
    Tally tally;
    for (const bool traced : {false, true}) {
      Conversation conversation(settings_, tally, Sign);
      conversation.Push(Offer(asked_for_ ? 6 : 2, asked_for_ ? kAllActions : 0x3f, 0));
      for (const auto* packets : {&connection_, &mail_macros_}) {
        for (const std::string& packet : *packets) conversation.Push(packet);
      }
      Check(Codes(conversation.Push(Packet('M', mail))) == codes, "where a message comes from is its own");
      if (traced) conversation.Push(Packet('L', Strings({"Received"})));
      conversation.Push(Packet('E'));
      const bool left = conversation.handed().empty();
      if (traced) local_ = codes == "c" && left;
      if (!traced) partner_ = left ? std::string() : conversation.handed().front().options.partner;
    }
  }

  void Field(std::string_view data) {
    const std::size_t end = data.find('\0');
    const std::string name(data.substr(0, end));
    if (::strcasecmp(name.c_str(), "Received") == 0) message_->traced = true;
    std::string& text = message_->text;
    text.append(data.substr(0, end)).append((steps_ & 0x100000) != 0 ? ":" : ": ");
    std::string_view value = end == std::string_view::npos ? std::string_view() : data.substr(end + 1);
    value = value.substr(0, value.find('\0'));
    for (std::size_t at = 0; at < value.size(); ++at) {
      if (value[at] == '\n' && (at == 0 || value[at - 1] != '\r')) text += '\r';
      text += value[at];
    }
    text += "\r\n";
  }

  void CheckHanded(const Handed& handed) const {
    Check(handed.options.envelope_sender == message_->sender, "the sender is the message's own");
    Check(handed.options.envelope_recipients == message_->recipients, "the recipients are the message's own");
    Check(handed.options.partner == partner_, "the partner is the message's own");
    // All of the message in one piece makes the same.
    relay::MessageReader reader(settings_.signerd);
    reader.Feed(message_->text);
    const auto expected = std::move(reader).Finish();
    Check(handed.content.failure.has_value() == expected.failure.has_value(), "the same can be signed");
    Check(handed.content.octets == expected.octets, "what travels is the message's own header");
    Check(handed.content.body.digest == expected.body.digest && handed.content.body.length == expected.body.length,
          "what travels is the hash of the message's own body");
    Check(expected.failure || message_->text.starts_with(expected.octets), "and begins as the message does");
  }

  static void CheckEnd(const std::string& codes, std::string_view answer) {
    Check(codes == "iic" || codes == "c" || codes == "y", "signed, passed or refused");
    for (const auto& [code, data] : Answers(answer)) {
      if (code == 'y') CheckReply(data);
      if (code != 'i') continue;
      Check(
          data.find('\r') == std::string::npos && std::ranges::count(data.substr(4), '\0') == 2 && data.back() == '\0',
          "a header field as MTAs take it");
    }
  }

  static void CheckReply(std::string_view data) {
    Check(data.ends_with('\0') && data.size() <= 511, "a reply is a line of SMTP");
    data.remove_suffix(1);
    Check(data.starts_with("451 4.") || data.starts_with("550 5."), "a reply has its codes");
    Check(std::ranges::all_of(data, [](char c) { return c >= ' ' && c <= '~' && c != '%'; }), "a reply can be read");
  }

  const SessionSettings& settings_;
  std::uint32_t steps_ = 0;
  bool asked_for_ = false, local_ = false;
  std::optional<UnderWay> message_;
  std::vector<std::string> connection_, macros_, mail_macros_;  // packets
  std::string partner_;
  std::size_t handed_ = 0;
  std::uint64_t mails_ = 0;
};

relay::Outcome Sign(const Handed& handed) {
  relay::Outcome outcome;
  const auto& content = handed.content;
  const std::size_t choice = content.octets.size() % 7;
  if (content.failure) {
    outcome.failure = content.failure;
  } else if (choice < 3) {
    outcome.signatures = {{"DKIM-Signature: v=1;\r\n\tb=one\r\n", "a", "rsa-sha256"},
                          {"DKIM-Signature:v=1;\n b=two\n", "b", "ed25519-sha256"}};
  } else {
    constexpr std::array<const char*, 4> kReasons{"DOMAIN_NOT_CONFIGURED", "FROM_MISSING", "UNREACHABLE",
                                                  "RATE_EXCEEDED"};
    const auto kind = static_cast<relay::FailureKind>(content.octets.size() % 3);
    outcome.failure = relay::Failure{kind, kReasons[choice - 3], content.octets, {}};
  }
  return outcome;
}

SessionSettings ChooseSettings(std::uint8_t choice) {
  SessionSettings settings;
  settings.outbound.networks = {*Network::Parse("127.0.0.0/8"), *Network::Parse("::1/128")};
  settings.outbound.daemon_names = {"ORIGINATING"};
  settings.outbound.inbound_daemon_names = {"IN"};
  settings.outbound.reinjected = choice / 27 % 2 == 1;
  settings.outbound.certificates = {"*.example"};
  settings.partners = {{"acme", {"acme*"}, {"*acme*"}, {"ACME"}, {"587"}}};
  settings.on = {static_cast<Choice>(choice % 3), static_cast<Choice>(choice / 3 % 3),
                 static_cast<Choice>(choice / 9 % 3)};
  settings.signerd.send_message = choice % 2 == 1;
  settings.signerd.message_octets = 200;
  return settings;
}

// Each command is its octet, the length of its data, and the data. After a negotiation by which all is offered, or
// little.
std::string AsPackets(std::string_view input, std::uint8_t choice) {
  std::string octets = choice % 4 == 0 ? Offer(2, 0x3f, 0x7f) : Offer(6, kAllActions, choice % 4 == 1 ? 0 : kAllSteps);
  while (input.size() >= 2) {
    const std::string_view data = input.substr(2, static_cast<std::uint8_t>(input[1]));
    octets += Packet(input[0], data);
    input.remove_prefix(2 + data.size());
  }
  return octets;
}

struct Said {
  std::string answers;
  std::vector<Handed> handed;
  bool over = false;
};

Said Converse(const SessionSettings& settings, std::string_view octets, std::string_view sizes) {
  Tally tally;
  Mta mta(settings);
  Said said;
  {
    Conversation conversation(settings, tally, Sign);
    conversation.on_taken = [&](char command, std::string_view data, std::string_view answer) {
      mta.Take(command, data, answer, conversation.handed(), conversation.broken());
    };
    InPieces(octets, sizes, [&](std::string_view piece) { said.answers += conversation.Push(piece); });
    said.handed = conversation.handed();
    said.over = conversation.over();
  }
  std::uint64_t counted = 0;
  for (const auto& count : tally.messages) counted += count;
  Check(counted == mta.mails(), "each MAIL is counted once, as one thing");
  return said;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const SessionSettings settings = ChooseSettings(data[0]);
  const std::uint8_t choice = data[1];
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view sizes = TakeSizes(input);
  const std::string octets = choice < 128 ? AsPackets(input, choice) : std::string(input);

  const Said in_pieces = Converse(settings, octets, sizes), at_once = Converse(settings, octets, {});
  Check(in_pieces.answers == at_once.answers && in_pieces.over == at_once.over,
        "it does not matter how octets were cut");
  Check(in_pieces.handed.size() == at_once.handed.size(), "the same messages however they were cut");
  return 0;
}
