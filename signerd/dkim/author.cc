#include "signerd/dkim/author.h"

#include <idn2.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/printable.h"
#include "signerd/dkim/ascii.h"

namespace hallmark::dkim {
namespace {

constexpr std::size_t kMaxDomain = 253;
constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxMailboxes = 1000;

Error Unusable(const std::string& what) { return MakeError(Reason::kFromUnusable, "From: " + what); }

// One mailbox of a list, taken apart: comments and folds are gone, quoted strings are whole.
struct Mailbox {
  std::string outside;  // display name, or an address without angle brackets
  std::string angle;
  bool has_angle = false;
};

// Splits a From value into mailboxes. Works octet by octet with a count for the depth, so hostile nesting costs no
// stack.
class MailboxList {
 public:
  Result<std::vector<Mailbox>> Split(std::string_view value) {
    for (const char c : value) {
      const Status taken = Take(c);
      if (!taken) return taken.error();
    }
    if (in_quote_) return Unusable("a quoted string does not end");
    if (comment_depth_ != 0) return Unusable("a comment does not end");
    if (in_angle_) return Unusable("an angle bracket is not closed");
    const Status last = EndMailbox();
    if (!last) return last.error();
    return std::move(mailboxes_);
  }

 private:
  Status Take(char c) {
    if (c == '\r' || c == '\n') return Ok();  // unfolded
    if (c == '\0') return Unusable("there is a NUL, a control character that ends the field for some mail readers");
    if (escaped_) {
      escaped_ = false;
      return comment_depth_ == 0 ? Append(c) : Ok();
    }
    if (c == '\\' && (in_quote_ || comment_depth_ != 0)) {
      escaped_ = true;
      return comment_depth_ == 0 ? Append(c) : Ok();
    }
    if (comment_depth_ != 0) {
      if (c == '(') ++comment_depth_;
      if (c == ')' && --comment_depth_ == 0) return Append(' ');
      return Ok();
    }
    if (in_quote_) {
      if (c == '"') in_quote_ = false;
      return Append(c);
    }
    return TakePlain(c);
  }

  Status TakePlain(char c) {
    switch (c) {
      case '"': in_quote_ = true; return Append(c);
      case '(': ++comment_depth_; return Ok();
      case '<':
        if (in_angle_ || current_.has_angle) return Unusable("a mailbox has two angle brackets");
        in_angle_ = current_.has_angle = true;
        return Ok();
      case '>':
        if (!in_angle_) return Unusable("an angle bracket is closed that was not opened");
        in_angle_ = false;
        return Ok();
      case ',':  // in angle brackets of an obsolete route: "<@a,@b:user@domain>"
      case ';': return in_angle_ ? Append(c) : EndMailbox();
      case ':': return in_angle_ || in_literal_ ? Append(c) : EndGroupName();
      default: return Append(c);
    }
  }

  Status Append(char c) {
    if (in_angle_) {
      current_.angle.push_back(c);
      return Ok();
    }
    if (current_.has_angle && !IsWsp(c)) return Unusable("there is text between an angle bracket and the next mailbox");
    current_.outside.push_back(c);
    // A domain literal may have colons (RFC 5321 section 4.1.3). Noted here: a search at each of a million colons takes
    // minutes.
    if (c == '[' || c == ']') in_literal_ = c == '[';
    return Ok();
  }

  // The name of a group says nothing, unless it looks like an address: some readers would show that one.
  Status EndGroupName() {
    if (current_.has_angle || current_.outside.find('@') != std::string::npos) {
      return Unusable("there is an address before a colon");
    }
    Begin();
    return Ok();
  }

  Status EndMailbox() {
    const bool empty = !current_.has_angle && TrimFws(current_.outside).empty();
    if (!empty) {
      if (mailboxes_.size() == kMaxMailboxes)
        return Unusable("there are more than " + std::to_string(kMaxMailboxes) + " mailboxes");
      mailboxes_.push_back(std::move(current_));
    }
    Begin();
    return Ok();
  }

  void Begin() {
    current_ = {};
    in_literal_ = false;
  }

  std::vector<Mailbox> mailboxes_;
  Mailbox current_;
  std::size_t comment_depth_ = 0;
  bool in_quote_ = false, in_angle_ = false, in_literal_ = false, escaped_ = false;
};

// The last "@" that is not within a quoted string: the domain is behind it.
std::size_t FindDomain(std::string_view address) {
  std::size_t at = std::string_view::npos;
  bool quoted = false;
  for (std::size_t i = 0; i < address.size(); ++i) {
    if (address[i] == '\\' && quoted) {
      ++i;
    } else if (address[i] == '"') {
      quoted = !quoted;
    } else if (address[i] == '@' && !quoted) {
      at = i;
    }
  }
  return at;
}

// A local part or a domain without the white space that obsolete syntax allows around its dots. Nothing when there is
// white space elsewhere: "a@b.com c@d.com" is no address.
std::optional<std::string> WithoutSpaceAtDots(std::string_view text) {
  std::string out;
  bool quoted = false, gap = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!quoted && IsWsp(c)) {
      gap = !out.empty();
      continue;
    }
    if (gap && c != '.' && out.back() != '.') return std::nullopt;
    gap = false;
    if (c == '"') quoted = !quoted;
    out.push_back(c);
    if (quoted && c == '\\' && i + 1 < text.size()) out.push_back(text[++i]);
  }
  return out;
}

bool IsAtext(char c) {
  return IsAlpha(c) || IsDigit(c) || std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// A local part (RFC 5322 section 3.4.1, RFC 6532): atoms and quoted strings with dots between. Anything else, a second
// "@" or a comma above all, is where one reader sees another address than the next. Dots may stand anywhere: there are
// addresses with two in a row or one at the end, and all readers find the same domain in them.
bool IsLocalPart(std::string_view text) {
  bool quoted = false, after_quotes = false;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const std::size_t octets = Utf8Octets(text.substr(i));
    if (octets == 0) return false;
    if (quoted) {
      after_quotes = c == '"';
      quoted = !after_quotes;
      i += octets;
      if (c == '\\') i += Utf8Octets(text.substr(i));
      continue;
    }
    if (c == '"') {
      if (i != 0 && text[i - 1] != '.') return false;
      quoted = true;
    } else if (c != '.' && (after_quotes || (octets == 1 && !IsAtext(c)))) {
      return false;
    }
    after_quotes = false;
    i += octets;
  }
  return !quoted;
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f'; });
}

// Whether `text` is the obsolete route "@a.example,@b.example" (RFC 5322 section 4.4).
bool IsRoute(std::string_view text) {
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view hop = TrimFws(text.substr(0, comma));
    if (!hop.empty()) {
      const auto domain = WithoutSpaceAtDots(hop.substr(1));
      if (hop.front() != '@' || !domain || !NormalizeDomain(*domain)) return false;
    }
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return true;
}

Result<Author> AuthorOf(const Mailbox& mailbox) {
  std::string_view address = TrimFws(mailbox.has_angle ? mailbox.angle : mailbox.outside);
  if (mailbox.has_angle && address.starts_with('@')) {  // after an obsolete route
    const std::size_t colon = std::min(address.find(':'), address.size());
    if (!IsRoute(address.substr(0, colon))) return Unusable("the route before the address is none");
    address = TrimFws(address.substr(std::min(colon + 1, address.size())));
  }
  if (address.empty()) return Unusable("the address is empty");
  if (HasControl(address)) return Unusable("the address has a control character");
  const std::size_t at = FindDomain(address);
  if (at == std::string_view::npos) return Unusable("the address has no domain");
  const auto local_part = WithoutSpaceAtDots(address.substr(0, at));
  const auto domain = WithoutSpaceAtDots(address.substr(at + 1));
  if (!local_part || !domain) return Unusable("the address has white space within");
  if (local_part->empty()) return Unusable("the address has no local part");
  if (!IsLocalPart(*local_part)) return Unusable("the local part is neither words with dots between nor quoted");
  if (domain->starts_with('[')) return Unusable("the address has a domain literal: there is no domain to sign for");
  auto normal = NormalizeDomain(*domain);
  if (!normal) return Unusable("the address has no usable domain: " + normal.error().message);
  return Author{*local_part + "@" + *domain, std::move(*normal)};
}

bool IsLabel(std::string_view label, bool underscores) {
  return !label.empty() && label.size() <= kMaxLabel && label.front() != '-' && label.back() != '-' &&
         std::all_of(label.begin(), label.end(), [=](char c) {
           return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-' || (c == '_' && underscores);
         });
}

bool AreLabels(std::string_view name, bool underscores) {
  while (true) {
    const std::size_t dot = name.find('.');
    if (!IsLabel(name.substr(0, dot), underscores)) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

constexpr std::size_t kMostShown = 80;  // of hostile octets, in an error

}  // namespace

Result<Author> FindAuthor(const Header& header) {
  const Field* from = nullptr;
  for (const Field& field : header.fields()) {
    if (!EqualsIgnoringCase(field.name, "from")) continue;
    if (from != nullptr) return MakeError(Reason::kFromRepeated, "the message has more than one From field");
    from = &field;
  }
  if (from == nullptr) return MakeError(Reason::kFromMissing, "the message has no From field");
  const auto mailboxes = MailboxList().Split(from->value);
  if (!mailboxes) return mailboxes.error();
  if (mailboxes->empty()) return Unusable("there is no mailbox");
  Result<Author> author = AuthorOf(mailboxes->front());
  for (std::size_t i = 1; author && i < mailboxes->size(); ++i) {
    auto another = AuthorOf((*mailboxes)[i]);
    if (!another) return another.error();
    if (another->domain != author->domain) return Unusable("the mailboxes have different domains");
    author->others.push_back(std::move(another->address));
  }
  return author;
}

Result<std::string> NormalizeDomain(std::string_view name) {
  const auto invalid = [&](const std::string& what) {
    return MakeError(Reason::kInvalidArgument, "\"" + Printable(name, kMostShown) + "\" " + what);
  };
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty()) return MakeError(Reason::kInvalidArgument, "an empty domain name");
  std::string label;
  if (IsAscii(name)) {
    label = ToLower(name);
  } else {
    if (name.find('\0') != std::string_view::npos || name.size() > 4 * kMaxDomain)
      return invalid("is not a domain name");
    char* converted = nullptr;
    const int code = idn2_to_ascii_8z(std::string(name).c_str(), &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    const std::unique_ptr<char, decltype(&idn2_free)> owner(converted, &idn2_free);
    if (code != IDN2_OK) return invalid(std::string("is not an internationalized domain name: ") + idn2_strerror(code));
    label = ToLower(converted);
  }
  if (label.size() > kMaxDomain || !AreLabels(label, false)) return invalid("is not a domain name");
  return label;
}

Status ValidateSelector(std::string_view selector) {
  if (selector.size() <= kMaxDomain && AreLabels(selector, true)) return Ok();
  return MakeError(Reason::kInvalidArgument,
                   "\"" + Printable(selector, kMostShown) +
                       "\" is not a selector: expected lower-case letters, digits, hyphens and "
                       "underscores, with dots between labels");
}

}  // namespace hallmark::dkim
