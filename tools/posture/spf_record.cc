#include "tools/posture/spf_record.h"

#include <arpa/inet.h>

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "tools/posture/finding.h"

namespace hallmark::posture {
namespace {

using dkim::EqualsIgnoringCase;
using dkim::IsAlpha;
using dkim::IsDigit;

constexpr std::string_view kVersion = "v=spf1";
constexpr std::string_view kDelimiters = ".-+,/_=";

Error Wrong(std::string_view term, const std::string& what) {
  return MakeError(Reason::kInvalidArgument, "the term " + Quoted(term) + " " + what);
}

bool IsAlnum(char c) { return IsAlpha(c) || IsDigit(c); }

// The octets of the macro at the start of `text`, "%{d2r}" or "%%"; 0 when there is no valid one. The letters c, r and
// t are for explanations, which are not in the record (RFC 7208 section 7.2).
std::size_t MacroSize(std::string_view text) {
  if (text.size() < 2) return 0;
  if (text[1] == '%' || text[1] == '_' || text[1] == '-') return 2;
  const std::size_t end = text.find('}');
  if (text[1] != '{' || end == std::string_view::npos || end < 3) return 0;
  std::size_t at = 2;
  if (std::string_view("slodiphv").find(dkim::Lower(text[at++])) == std::string_view::npos) return 0;
  const std::size_t digits = at;
  while (IsDigit(text[at])) ++at;
  if (at > digits && text.substr(digits, at - digits).find_first_not_of('0') == std::string_view::npos) return 0;
  if (dkim::Lower(text[at]) == 'r') ++at;
  while (at < end && kDelimiters.find(text[at]) != std::string_view::npos) ++at;
  return at == end ? end + 1 : 0;
}

enum class MacroString : std::uint8_t { kInvalid, kEndsWithLiteral, kEndsWithMacro };

MacroString ReadMacroString(std::string_view text) {
  MacroString read = MacroString::kEndsWithLiteral;
  while (!text.empty()) {
    const bool macro = text.front() == '%';
    const std::size_t size = macro ? MacroSize(text) : 1;
    if (size == 0 || text.front() <= ' ' || text.front() > '~') return MacroString::kInvalid;
    read = macro ? MacroString::kEndsWithMacro : MacroString::kEndsWithLiteral;
    text.remove_prefix(size);
  }
  return read;
}

// At least one letter or an inner hyphen: no number alone.
bool IsTopLabel(std::string_view label) {
  if (label.empty() || !IsAlnum(label.front()) || !IsAlnum(label.back())) return false;
  return std::all_of(label.begin(), label.end(), [](char c) { return IsAlnum(c) || c == '-'; }) &&
         !std::all_of(label.begin(), label.end(), &IsDigit);
}

bool IsDomainSpec(std::string_view text) {
  const MacroString read = ReadMacroString(text);
  if (text.empty() || read == MacroString::kInvalid) return false;
  if (read == MacroString::kEndsWithMacro) return true;
  if (text.back() == '.') text.remove_suffix(1);
  const std::size_t dot = text.rfind('.');
  return dot != std::string_view::npos && IsTopLabel(text.substr(dot + 1));
}

// A prefix length: no sign, no leading zero.
std::optional<unsigned> PrefixLength(std::string_view text, unsigned most) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > most) return std::nullopt;
  return value;
}

// Takes "/24", "//64" or "/24//64" off the end of an a or mx.
Status TakeDualPrefix(std::string_view& argument, SpfTerm& term) {
  const auto take = [&](std::string_view mark, unsigned most, unsigned& prefix) -> Status {
    const std::size_t slash = argument.rfind('/');
    if (slash == std::string_view::npos) return Ok();
    const std::string_view digits = argument.substr(slash + 1);
    if (digits.empty() || !std::all_of(digits.begin(), digits.end(), &IsDigit)) return Ok();
    if (slash + 1 < mark.size() || argument.substr(slash + 1 - mark.size(), mark.size()) != mark) return Ok();
    const auto length = PrefixLength(digits, most);
    if (!length) return Wrong(term.text, "has a prefix length that is none; expected 0 to " + std::to_string(most));
    prefix = *length;
    argument = argument.substr(0, slash + 1 - mark.size());
    return Ok();
  };
  if (const auto status = take("//", 128, term.ip6_prefix); !status) return status;
  return take("/", 32, term.ip4_prefix);
}

Status ParseNetwork(std::string_view argument, SpfTerm& term) {
  const bool ip4 = term.mechanism == SpfMechanism::kIp4;
  const std::size_t slash = argument.find('/');
  term.address = argument.substr(0, slash);
  unsigned char octets[sizeof(in6_addr)];
  if (::inet_pton(ip4 ? AF_INET : AF_INET6, term.address.c_str(), octets) != 1)
    return Wrong(term.text, ip4 ? "has no IPv4 address" : "has no IPv6 address");
  if (slash == std::string_view::npos) return Ok();
  const unsigned most = ip4 ? 32 : 128;
  const auto length = PrefixLength(argument.substr(slash + 1), most);
  if (!length) return Wrong(term.text, "has a prefix length that is none; expected 0 to " + std::to_string(most));
  (ip4 ? term.ip4_prefix : term.ip6_prefix) = *length;
  return Ok();
}

struct MechanismInfo {
  std::string_view name;
  SpfMechanism mechanism;
  enum : std::uint8_t { kNothing, kDomain, kDomainOrNothing, kHosts, kNetwork } takes;
};
constexpr MechanismInfo kMechanisms[] = {
    {"all", SpfMechanism::kAll, MechanismInfo::kNothing},
    {"include", SpfMechanism::kInclude, MechanismInfo::kDomain},
    {"a", SpfMechanism::kA, MechanismInfo::kHosts},
    {"mx", SpfMechanism::kMx, MechanismInfo::kHosts},
    {"ptr", SpfMechanism::kPtr, MechanismInfo::kDomainOrNothing},
    {"ip4", SpfMechanism::kIp4, MechanismInfo::kNetwork},
    {"ip6", SpfMechanism::kIp6, MechanismInfo::kNetwork},
    {"exists", SpfMechanism::kExists, MechanismInfo::kDomain},
};

// What stands after the name: "", "/24", ":example.com", ":example.com/24".
Status ParseArgument(const MechanismInfo& info, std::string_view rest, SpfTerm& term) {
  if (info.takes == MechanismInfo::kNothing) {
    return rest.empty() ? Ok() : Wrong(term.text, "has more than " + std::string(info.name));
  }
  if (info.takes == MechanismInfo::kHosts) {
    if (const auto status = TakeDualPrefix(rest, term); !status) return status;
  }
  const bool optional = info.takes == MechanismInfo::kHosts || info.takes == MechanismInfo::kDomainOrNothing;
  if (rest.empty() && optional) return Ok();
  if (rest.empty() || rest.front() != ':') return Wrong(term.text, "lacks \":\" and what belongs to it");
  rest.remove_prefix(1);
  if (info.takes == MechanismInfo::kNetwork) return ParseNetwork(rest, term);
  if (!IsDomainSpec(rest)) return Wrong(term.text, "has no domain name after \":\"");
  term.domain_spec = rest;
  return Ok();
}

Result<SpfTerm> ParseMechanism(std::string_view text) {
  SpfTerm term;
  term.text = text;
  if (std::string_view("+-~?").find(text.front()) != std::string_view::npos) {
    term.qualifier = text.front();
    text.remove_prefix(1);
  }
  const std::string_view name = text.substr(0, text.find_first_of(":/"));
  for (const MechanismInfo& info : kMechanisms) {
    if (!EqualsIgnoringCase(info.name, name)) continue;
    term.mechanism = info.mechanism;
    if (const auto status = ParseArgument(info, text.substr(name.size()), term); !status) return status.error();
    return term;
  }
  return Wrong(term.text, "is no mechanism of SPF");
}

// Whether this is a modifier (NAME=...), not a mechanism whose argument has a "=".
bool IsModifier(std::string_view text) {
  const std::size_t end = text.find_first_of("=:/");
  if (end == std::string_view::npos || end == 0 || text[end] != '=' || !IsAlpha(text.front())) return false;
  return std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char c) { return IsAlnum(c) || c == '-' || c == '_' || c == '.'; });
}

Status TakeModifier(std::string_view text, SpfRecord& record) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals), value = text.substr(equals + 1);
  const bool redirect = EqualsIgnoringCase(name, "redirect");
  if (!redirect && !EqualsIgnoringCase(name, "exp")) {
    if (ReadMacroString(value) == MacroString::kInvalid) return Wrong(text, "has a value that is no macro string");
    record.unknown.emplace_back(text);
    return Ok();
  }
  std::optional<std::string>& place = redirect ? record.redirect : record.exp;
  if (place) return Wrong(text, "is there twice");
  if (!IsDomainSpec(value)) return Wrong(text, "has no domain name");
  place = value;
  return Ok();
}

// The labels of `value`, cut at any of `delimiters`, with what the transformers leave of them (RFC 7208 section 7.3).
std::string Transform(const std::string& value, std::string_view transformers) {
  std::size_t keep = 0;
  while (!transformers.empty() && IsDigit(transformers.front())) {
    keep = std::min<std::size_t>(keep * 10 + static_cast<std::size_t>(transformers.front() - '0'), 128);
    transformers.remove_prefix(1);
  }
  const bool reverse = !transformers.empty() && dkim::Lower(transformers.front()) == 'r';
  if (reverse) transformers.remove_prefix(1);
  const std::string_view delimiters = transformers.empty() ? std::string_view(".") : transformers;
  std::vector<std::string> parts(1);
  for (const char c : value) {
    if (delimiters.find(c) != std::string_view::npos) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (reverse) std::reverse(parts.begin(), parts.end());
  std::string joined;
  for (std::size_t i = keep == 0 || keep >= parts.size() ? 0 : parts.size() - keep; i < parts.size(); ++i)
    joined += (joined.empty() ? "" : ".") + parts[i];
  return joined;
}

}  // namespace

const SpfTerm* SpfRecord::All() const {
  const auto all = std::find_if(terms.begin(), terms.end(),
                                [](const SpfTerm& term) { return term.mechanism == SpfMechanism::kAll; });
  return all == terms.end() ? nullptr : &*all;
}

bool SpfRecord::LetsIn() const {
  for (const SpfTerm& term : terms) {
    if (term.qualifier == '+') return true;
    if (term.mechanism == SpfMechanism::kAll) return false;
  }
  return redirect.has_value();
}

bool SpfRecord::MayMeanToLetIn() const {
  const bool ends = All() != nullptr || redirect;
  return std::any_of(unknown.begin(), unknown.end(), [&](const std::string& modifier) {
    const std::string_view name = std::string_view(modifier).substr(0, modifier.find('='));
    return !ends || std::any_of(std::begin(kMechanisms), std::end(kMechanisms),
                                [&](const MechanismInfo& info) { return EqualsIgnoringCase(info.name, name); });
  });
}

std::string SpfText(const SpfRecord& record) {
  std::string text(kVersion);
  for (const SpfTerm& term : record.terms) text += " " + term.text;
  for (const std::string& modifier : record.unknown) text += " " + modifier;
  if (record.redirect) text += " redirect=" + *record.redirect;
  if (record.exp) text += " exp=" + *record.exp;
  return text;
}

std::vector<std::string> SpfTermsToKeep(const SpfRecord& record) {
  std::vector<std::string> kept;
  for (const SpfTerm& term : record.terms) {
    if (term.mechanism != SpfMechanism::kAll) kept.push_back(term.text);
    if (term.mechanism == SpfMechanism::kAll && record.All()->qualifier != '+') break;
  }
  return kept;
}

SpfRecord SpfWithout(SpfRecord record, std::string_view left_out) {
  std::erase_if(record.terms, [&](const SpfTerm& term) { return term.text == left_out; });
  return record;
}

bool IsSpf(std::string_view text) {
  return text.size() >= kVersion.size() && EqualsIgnoringCase(text.substr(0, kVersion.size()), kVersion) &&
         (text.size() == kVersion.size() || text[kVersion.size()] == ' ');
}

Result<SpfRecord> ParseSpf(std::string_view text) {
  SpfRecord record;
  text.remove_prefix(std::min(kVersion.size(), text.size()));
  while (!text.empty()) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const std::string_view term = text.substr(0, text.find(' '));
    text.remove_prefix(term.size());
    if (term.empty()) break;
    if (IsModifier(term)) {
      if (const auto status = TakeModifier(term, record); !status) return status.error();
      continue;
    }
    auto mechanism = ParseMechanism(term);
    if (!mechanism) return mechanism.error();
    if (record.All() != nullptr) record.after_all.emplace_back(term);
    record.terms.push_back(std::move(*mechanism));
  }
  return record;
}

std::optional<std::string> ExpandForDomain(std::string_view spec, const std::string& domain) {
  std::string expanded;
  while (!spec.empty()) {
    const std::size_t size = spec.front() == '%' ? MacroSize(spec) : 1;
    if (size == 0) return std::nullopt;  // not taken by ParseSpf
    const std::string_view part = spec.substr(0, size);
    spec.remove_prefix(size);
    if (size == 1) {
      expanded += part;
    } else if (size == 2) {
      expanded += part[1] == '%' ? "%" : part[1] == '_' ? " " : "%20";
    } else if (dkim::Lower(part[2]) == 'd') {
      expanded += Transform(domain, part.substr(3, size - 4));
    } else {
      return std::nullopt;
    }
  }
  if (expanded.ends_with('.')) expanded.pop_back();
  return dkim::ToLower(expanded);
}

}  // namespace hallmark::posture
