#include "tools/milter/session.h"

#include <algorithm>
#include <array>

#include "firmware/runtime/log.h"

namespace hallmark::milter {
namespace {

constexpr std::size_t kMostRecipients = 10000;  // as signerd takes
// What the ledger can keep in clear beside all else of a signature: a record has 1 MiB at most, and there each
// recipient has up to three octets of its own (a tag and a length).
constexpr std::size_t kMostRecipientOctets = 900u << 10;
constexpr std::size_t kBesideRecipient = 4;
constexpr std::size_t kLongestPath = 4096;    // MTAs take no longer command lines than half of this
constexpr std::size_t kPostfixShows = 60000;  // of a header field (below)

// All that we would rather not be sent, or not answer. HELO and what belongs to it comes where the MTA cannot be told
// which macros to send with MAIL.
constexpr std::uint32_t kWanted = step::kNoUnknown | step::kNoData | step::kNoReplyConnect | step::kNoReplyHelo |
                                  step::kNoReplyRecipient | step::kNoReplyHeader | step::kNoReplyEndOfHeader |
                                  step::kNoReplyBody | step::kNoReplyData | step::kNoReplyUnknown | step::kLeadingSpace;

struct StageMacros {
  std::uint32_t stage;
  std::string_view names;
};
constexpr std::array<StageMacros, 3> kMacros{{
    {stage::kConnect, "j {daemon_name} {daemon_port}"},
    {stage::kMail, "{auth_authen} {cert_subject} {verify}"},
    {stage::kEndOfMessage, "i"},
}};

Error Violation(const std::string& what) { return MakeError(Reason::kInvalidArgument, what); }

std::string_view WithoutBrackets(std::string_view path) {
  if (path.starts_with('<')) path.remove_prefix(1);
  if (path.ends_with('>')) path.remove_suffix(1);
  return path;
}

// Postfix cuts each header field to 60,000 octets where there are milters, and what it shows is what goes out; but for
// lists of addresses that it wrote anew. There it does not count the tabs that it puts before their lines: the list is
// longer than that, and ends for a milter with the line in which it passes 60,000 octets (cleanup_out.c, mime_state.c
// and KLUDGE_HEADER_LIMIT of cleanup_message.c). A line within a list ends with a comma, the last one does not.
bool IsCutByPostfix(std::size_t name_octets, std::string_view value) {
  return name_octets + value.size() >= kPostfixShows && value.ends_with(',');
}

std::string_view First(const std::vector<std::string_view>& strings) {
  return strings.empty() ? std::string_view() : strings.front();
}

// MTAs hand folds over as bare LF.
std::string WithCrlf(std::string_view value) {
  std::string text;
  text.reserve(value.size() + 16);
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\n' && (i == 0 || value[i - 1] != '\r')) text += '\r';
    text += value[i];
  }
  return text;
}

std::string WithBareLf(std::string_view value) {
  std::string text(value);
  std::erase(text, '\r');
  return text;
}

}  // namespace

Session::Session(const SessionSettings& settings, Tally& tally) : settings_(settings), tally_(tally) {}

Session::~Session() {
  if (InMessage()) tally_.Count(Verdict::kAborted);
}

Result<Session::Next> Session::Take(const Frame& frame, std::string& out) {
  const auto command = static_cast<Command>(frame.command);
  if (state_ == State::kStart && command != Command::kNegotiate && command != Command::kQuit) {
    return Violation("a command before the option negotiation");
  }
  if (state_ == State::kSigning) return Violation("a command before the end of the message was answered");
  switch (command) {
    case Command::kNegotiate:
      if (const Status status = Negotiate(frame.data, out); !status) return status.error();
      break;
    case Command::kMacro: macros_.Take(frame.data); break;
    case Command::kConnect: Connect(frame.data, out); break;
    case Command::kHelo: AnswerUnless(step::kNoReplyHelo, out); break;
    case Command::kUnknown: AnswerUnless(step::kNoReplyUnknown, out); break;
    case Command::kMail:
      if (const Status status = Mail(frame.data, out); !status) return status.error();
      break;
    case Command::kAbort: EndMessage(State::kBetween); break;
    case Command::kQuitNewConnection: EndConnection(); break;
    case Command::kQuit: EndMessage(State::kBetween); return Next::kClose;
    default:
      if (const Status status = InEnvelope(command, frame.data, out); !status) return status.error();
  }
  return state_ == State::kSigning ? Next::kSign : Next::kRead;
}

Status Session::Negotiate(std::string_view data, std::string& out) {
  if (data.size() < 12) return Violation("an option negotiation of " + std::to_string(data.size()) + " octets");
  const std::uint32_t version = ReadU32(data), actions = ReadU32(data.substr(4)), steps = ReadU32(data.substr(8));
  if (version < kLeastVersion) return Violation("version " + std::to_string(version) + " of the milter protocol");
  if ((actions & action::kAddHeader) == 0) return Violation("an MTA that lets no milter add header fields");

  const bool lists = (actions & action::kSymbolList) != 0;
  macros_.set_asked_for(lists);
  steps_ = steps & (kWanted | (lists ? step::kNoHelo : 0));
  std::string answer;
  AppendU32(answer, std::min(version, kVersion));
  AppendU32(answer, action::kAddHeader | (lists ? action::kSymbolList : 0));
  AppendU32(answer, steps_);
  for (const StageMacros& macros : kMacros) {
    if (!lists) break;
    AppendU32(answer, macros.stage);
    answer.append(macros.names) += '\0';
  }
  AppendReply(out, static_cast<Reply>(Command::kNegotiate), answer);
  EndConnection();
  return Ok();
}

// Host name, NUL, family, port (16 bits), address, NUL.
void Session::Connect(std::string_view data, std::string& out) {
  EndMessage(State::kBetween);
  peer_ = {};
  const std::size_t name_end = data.find('\0');
  const std::string_view rest = name_end == std::string_view::npos ? std::string_view() : data.substr(name_end + 1);
  const char family = rest.empty() ? 'U' : rest.front();
  peer_.local = family == 'L';
  if ((family == '4' || family == '6') && rest.size() > 3) {
    std::string address(First(SplitStrings(rest.substr(3))));
    if (address.starts_with("IPv6:")) address.erase(0, 5);  // as Sendmail and Postfix write it
    boost::system::error_code error;
    const auto parsed = boost::asio::ip::make_address(address, error);
    if (!error) peer_.address = parsed;
  }
  AnswerUnless(step::kNoReplyConnect, out);
}

Status Session::Mail(std::string_view data, std::string& out) {
  DropMessage();
  origin_ = OriginOf(settings_.outbound, peer_, macros_);
  reinjected_ = false;
  cut_field_.clear();
  recipient_octets_ = recipients_left_out_ = 0;
  if (origin_ == Origin::kOutside) {
    tally_.Count(Verdict::kLeftAlone);
    AppendReply(out, Reply::kAccept);
    EndMessage(State::kLeftAlone);
    return Ok();
  }
  const std::string_view sender = WithoutBrackets(First(SplitStrings(data)));
  if (sender.size() > kLongestPath) return Violation("a sender of " + std::to_string(sender.size()) + " octets");
  relay::MessageOptions options;
  options.envelope_sender = sender;
  options.partner = FindPartner(settings_.partners, macros_);
  message_.emplace(settings_.signerd, std::move(options));
  state_ = State::kEnvelope;
  AppendReply(out, Reply::kContinue);
  return Ok();
}

// What only makes sense within a message. One that is left alone was accepted at MAIL; an MTA that still goes on is
// told so again.
Status Session::InEnvelope(Command command, std::string_view data, std::string& out) {
  std::uint32_t no_reply = 0;
  switch (command) {
    case Command::kRecipient: no_reply = step::kNoReplyRecipient; break;
    case Command::kData: no_reply = step::kNoReplyData; break;
    case Command::kHeader: no_reply = step::kNoReplyHeader; break;
    case Command::kEndOfHeader: no_reply = step::kNoReplyEndOfHeader; break;
    case Command::kBody: no_reply = step::kNoReplyBody; break;
    case Command::kEndOfMessage: break;
    default: return Violation("a command that is not of the protocol");
  }
  if (state_ == State::kLeftAlone) {
    if ((steps_ & no_reply) == 0) AppendReply(out, Reply::kAccept);
    if (command == Command::kEndOfMessage) macros_.EndMessage();
    return Ok();
  }
  if (!message_) return Violation("a part of a message before its MAIL");
  if (state_ == State::kBody && command != Command::kBody && command != Command::kEndOfMessage) {
    return Violation("a header field, or a recipient, within a body");
  }

  if (command == Command::kRecipient) {
    if (const Status status = Recipient(data); !status) return status;
  }
  if (command == Command::kHeader) Header(data);
  if (command == Command::kEndOfHeader) BeginBody();
  if (command == Command::kBody || command == Command::kEndOfMessage) {
    if (state_ == State::kEnvelope) BeginBody();
    message_->Feed(data);
  }
  if (command == Command::kEndOfMessage) {
    queue_id_ = Printable(macros_.Get("i"));
    if (recipients_left_out_ != 0) {
      log::warn("{}: {} recipients are too many to be told to signerd: they are not counted, nor written down",
                queue_id_, recipients_left_out_);
    }
    state_ = State::kSigning;
    if (reinjected_) {
      LeaveReinjected(out);
    } else if (!cut_field_.empty()) {
      RefuseCut(out);
    }
  } else {
    AnswerUnless(no_reply, out);
  }
  return Ok();
}

Status Session::Recipient(std::string_view data) {
  const std::string_view recipient = WithoutBrackets(First(SplitStrings(data)));
  if (recipient.size() > kLongestPath)
    return Violation("a recipient of " + std::to_string(recipient.size()) + " octets");
  auto& recipients = message_->options().envelope_recipients;
  const std::size_t octets = recipient.size() + kBesideRecipient;
  if (recipients.size() >= kMostRecipients || octets > kMostRecipientOctets - recipient_octets_) {
    ++recipients_left_out_;
    return Ok();
  }
  recipient_octets_ += octets;
  recipients.emplace_back(recipient);
  return Ok();
}

// Without kLeadingSpace the MTA has taken the white space after the colon away: then one space is what it most probably
// was.
void Session::Header(std::string_view data) {
  const auto strings = SplitStrings(data);
  if (origin_ == Origin::kThisHost && MatchesPattern("received", First(strings))) reinjected_ = true;
  std::string field(First(strings));
  field += (steps_ & step::kLeadingSpace) != 0 ? ":" : ": ";
  if (strings.size() > 1) {
    if (IsCutByPostfix(field.size(), strings[1])) cut_field_ = Printable(strings[0]);
    field += WithCrlf(strings[1]);
  }
  message_->Feed(field += "\r\n");
}

void Session::BeginBody() {
  message_->Feed("\r\n");
  state_ = State::kBody;
}

// Only now, because a field that is not answered cannot be answered with "accept".
void Session::LeaveReinjected(std::string& out) {
  log::info("{}: left alone: it comes from this host and has a Received field (outbound.reinjected)", queue_id_);
  tally_.Count(Verdict::kLeftAlone);
  message_.reset();
  state_ = State::kBetween;
  macros_.EndMessage();
  AppendReply(out, Reply::kAccept);
}

// Its signature would not hold: what goes out is longer than what would be signed.
void Session::RefuseCut(std::string& out) {
  message_.reset();
  state_ = State::kBetween;
  macros_.EndMessage();
  NotSigned({.kind = relay::FailureKind::kRefused,
             .reason = "FIELD_CUT",
             .message = "its " + cut_field_ + " field is longer than the MTA lets a signer see",
             .retry_after = {}},
            out);
}

void Session::DropMessage() {
  if (InMessage()) tally_.Count(Verdict::kAborted);
  message_.reset();
}

void Session::EndMessage(State next) {
  DropMessage();
  macros_.EndMessage();
  state_ = next;
}

void Session::EndConnection() {
  EndMessage(State::kBetween);
  macros_.EndConnection();
  peer_ = {};
}

void Session::AnswerUnless(std::uint32_t no_reply, std::string& out) const {
  if ((steps_ & no_reply) == 0) AppendReply(out, Reply::kContinue);
}

relay::Message Session::TakeMessage() {
  relay::Message message = std::move(*message_);
  message_.reset();
  return message;
}

void Session::Signed(const relay::Outcome& outcome, std::string& out) {
  state_ = State::kBetween;
  macros_.EndMessage();
  if (outcome) {
    // Each goes above the one before it, so the first of the answer ends up on top.
    for (auto signature = outcome.signatures.rbegin(); signature != outcome.signatures.rend(); ++signature) {
      std::string_view field = signature->header_field;
      const std::size_t colon = field.find(':');
      std::string_view value = field.substr(std::min(colon + 1, field.size()));
      while (value.ends_with('\n') || value.ends_with('\r')) value.remove_suffix(1);
      if ((steps_ & step::kLeadingSpace) == 0 && value.starts_with(' ')) value.remove_prefix(1);
      AppendInsertAtTop(out, field.substr(0, colon), WithBareLf(value));
    }
    log::debug("{}: signed for {}, {} signatures", queue_id_, outcome.signing_domain, outcome.signatures.size());
    tally_.Count(Verdict::kSigned);
    AppendReply(out, Reply::kContinue);
    return;
  }
  NotSigned(*outcome.failure, out);
}

void Session::NotSigned(const relay::Failure& failure, std::string& out) {
  const Trouble trouble = TroubleOf(failure);
  const Choice choice = Choose(settings_.on, trouble);
  tally_.Count(trouble);
  constexpr std::array<std::string_view, 3> kDone{"deferred", "passed unsigned", "rejected"};
  // What is deferred comes again and again, and the MTA logs it: an outage is told as one (Connection).
  const bool again = trouble == Trouble::kUnavailable && choice == Choice::kTempfail;
  const auto level = again ? spdlog::level::debug : spdlog::level::info;
  spdlog::log(level, "{}: not signed, {}: {}: {}", queue_id_, kDone[static_cast<std::size_t>(choice)], failure.reason,
              Printable(failure.message));
  switch (choice) {
    case Choice::kAccept:
      tally_.Count(Verdict::kUnsigned);
      AppendReply(out, Reply::kContinue);
      return;
    case Choice::kTempfail: tally_.Count(Verdict::kTempfailed); break;
    case Choice::kReject: tally_.Count(Verdict::kRejected); break;
  }
  AppendReplyCode(out, ReplyText(choice, failure));
}

}  // namespace hallmark::milter
