#include "signerd/snapshot/rules.h"

#include <algorithm>

#include "signerd/dkim/ascii.h"
#include "signerd/dkim/author.h"

namespace hallmark::snapshot {
namespace {

// RFC 5321 allows 64 and 255; what is longer than this matches no pattern, so that no message makes matching slow.
constexpr std::size_t kMostOctets = 512;

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 80)) out.push_back(c > ' ' && c < '\x7f' ? c : '?');
  return out + "\"";
}

// "*" stands for any octets, none included. Goes back to the last "*" only: linear for one, quadratic at worst.
bool MatchWild(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// The domain of a pattern: with "*" in it only letters, digits, hyphens, dots.
Result<std::string> NormalizePattern(std::string_view domain) {
  if (domain.find('*') == std::string_view::npos) return dkim::NormalizeDomain(domain);
  const bool plain = std::all_of(domain.begin(), domain.end(), [](char c) {
    return dkim::IsAlpha(c) || dkim::IsDigit(c) || c == '-' || c == '.' || c == '*' || c == '_';
  });
  if (!plain) return MakeError(Reason::kInvalidArgument, "the domain of a pattern with \"*\" must be in A-labels");
  return dkim::ToLower(domain);
}

}  // namespace

bool IsWithin(std::string_view name, std::string_view parent) {
  if (!name.ends_with(parent)) return false;
  return name.size() == parent.size() || name[name.size() - parent.size() - 1] == '.';
}

Result<DomainRules> DomainRules::Parse(const std::vector<std::string>& rules) {
  DomainRules parsed;
  for (const std::string& rule : rules) {
    if (rule == "*") {
      parsed.any_ = true;
      parsed.texts_.insert(rule);
      continue;
    }
    const bool within = rule.starts_with('.');
    const auto name = dkim::NormalizeDomain(std::string_view(rule).substr(within ? 1 : 0));
    if (!name) return MakeError(Reason::kInvalidArgument, Quoted(rule) + " is no domain rule");
    parsed.texts_.insert((within ? "." : "") + *name);
  }
  for (const std::string& text : parsed.texts_) {
    if (text == "*") continue;
    const bool within = text.starts_with('.');
    parsed.any_within_ = parsed.any_within_ || within;
    const std::string_view name = std::string_view(text).substr(within ? 1 : 0);
    parsed.entries_.push_back({StringHash()(name), static_cast<std::uint32_t>(parsed.names_.size()),
                               static_cast<std::uint16_t>(name.size()), within});
    parsed.names_ += name;
  }
  std::sort(parsed.entries_.begin(), parsed.entries_.end(),
            [](const Entry& a, const Entry& b) { return a.hash < b.hash; });
  return parsed;
}

// Whether there is a rule of this very name: one for all below it, or, `exact_too`, one for it alone.
bool DomainRules::Has(std::string_view name, bool exact_too) const {
  const std::uint64_t hash = StringHash()(name);
  auto entry = std::lower_bound(entries_.begin(), entries_.end(), hash,
                                [](const Entry& a, std::uint64_t wanted) { return a.hash < wanted; });
  for (; entry != entries_.end() && entry->hash == hash; ++entry) {
    if ((entry->within || exact_too) && std::string_view(names_).substr(entry->begin, entry->size) == name) return true;
  }
  return false;
}

namespace {

// Takes the first label off; false when it was the last.
bool GoUp(std::string_view& domain) {
  const std::size_t dot = domain.find('.');
  if (dot == std::string_view::npos) return false;
  domain.remove_prefix(dot + 1);
  return true;
}

}  // namespace

void DomainRules::Prefetch() const {
  constexpr std::size_t kLine = 64, kMost = 4 * kLine;
  const auto first_lines = [&](const char* data, std::size_t octets) {
    for (std::size_t at = 0; at < std::min(octets, kMost); at += kLine) __builtin_prefetch(data + at);
  };
  first_lines(reinterpret_cast<const char*>(entries_.data()), entries_.size() * sizeof(Entry));
  first_lines(names_.data(), names_.size());
}

bool DomainRules::Match(std::string_view domain) const {
  if (any_ || Has(domain, true)) return true;
  if (!any_within_) return false;
  while (GoUp(domain)) {
    if (Has(domain, false)) return true;
  }
  return false;
}

bool DomainRules::MatchAny(std::string_view domain) const {
  if (any_) return true;
  do {
    if (Has(domain, true)) return true;
  } while (GoUp(domain));
  return false;
}

bool DomainRules::Cover(std::string_view rule) const {
  if (any_ || texts_.contains(std::string(rule))) return true;
  if (rule == "*") return false;
  if (!rule.starts_with('.')) return Match(rule);
  rule.remove_prefix(1);  // only a rule for all below one that is above it
  do {
    if (Has(rule, false)) return true;
  } while (GoUp(rule));
  return false;
}

Result<AddressPattern> AddressPattern::Parse(std::string_view pattern) {
  const auto invalid = [&] { return MakeError(Reason::kInvalidArgument, Quoted(pattern) + " is no address pattern"); };
  const std::size_t at = pattern.rfind('@');
  if (at == std::string_view::npos || at == 0 || pattern.size() > kMostOctets) return invalid();
  AddressPattern parsed;
  parsed.local_part_ = pattern.substr(0, at);
  const bool control = std::any_of(parsed.local_part_.begin(), parsed.local_part_.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
  auto domain = NormalizePattern(pattern.substr(at + 1));
  if (control || !domain || domain->empty()) return invalid();
  parsed.domain_ = std::move(*domain);
  return parsed;
}

bool AddressPattern::Match(std::string_view address, std::string_view domain) const {
  const std::size_t at = address.rfind('@');
  if (at == std::string_view::npos || address.size() > kMostOctets || domain.size() > kMostOctets) return false;
  return MatchWild(domain_, domain) && MatchWild(local_part_, address.substr(0, at));
}

}  // namespace hallmark::snapshot
