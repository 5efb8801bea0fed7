#pragma once

#include <cstdint>

// The milter protocol, versions 2 to 6, as Sendmail's libmilter and Postfix speak it. A packet is its length (32 bits,
// big endian, without itself), a command or reply octet, and data. Strings end with NUL.
namespace hallmark::milter {

inline constexpr std::uint32_t kLeastVersion = 2;
inline constexpr std::uint32_t kVersion = 6;

enum class Command : char {
  kAbort = 'A',
  kBody = 'B',
  kConnect = 'C',
  kMacro = 'D',
  kEndOfMessage = 'E',
  kHelo = 'H',
  kQuitNewConnection = 'K',
  kHeader = 'L',
  kMail = 'M',
  kEndOfHeader = 'N',
  kNegotiate = 'O',
  kQuit = 'Q',
  kRecipient = 'R',
  kData = 'T',
  kUnknown = 'U',
};

enum class Reply : char {
  kAccept = 'a',
  kContinue = 'c',
  kInsertHeader = 'i',
  kSymbolList = 'l',
  kReplyCode = 'y',
};

// What a milter may do to a message; the MTA offers, the milter takes.
namespace action {
inline constexpr std::uint32_t kAddHeader = 0x1;
inline constexpr std::uint32_t kSymbolList = 0x100;
}  // namespace action

// What is not sent, not answered, or sent otherwise; the MTA offers, the milter takes.
namespace step {
inline constexpr std::uint32_t kNoHelo = 0x2;
inline constexpr std::uint32_t kNoReplyHeader = 0x80;
inline constexpr std::uint32_t kNoUnknown = 0x100;
inline constexpr std::uint32_t kNoData = 0x200;
inline constexpr std::uint32_t kNoReplyConnect = 0x1000;
inline constexpr std::uint32_t kNoReplyHelo = 0x2000;
inline constexpr std::uint32_t kNoReplyRecipient = 0x8000;
inline constexpr std::uint32_t kNoReplyData = 0x10000;
inline constexpr std::uint32_t kNoReplyUnknown = 0x20000;
inline constexpr std::uint32_t kNoReplyEndOfHeader = 0x40000;
inline constexpr std::uint32_t kNoReplyBody = 0x80000;
// Field values come with the white space after the colon, so that c=simple can be right.
inline constexpr std::uint32_t kLeadingSpace = 0x100000;
}  // namespace step

// At which command macros are sent, in a symbol list.
namespace stage {
inline constexpr std::uint32_t kConnect = 0;
inline constexpr std::uint32_t kMail = 2;
inline constexpr std::uint32_t kEndOfMessage = 5;
}  // namespace stage

}  // namespace hallmark::milter
