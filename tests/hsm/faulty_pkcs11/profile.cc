#include "profile.h"

#include <algorithm>
#include <charconv>

namespace faulty {
namespace {

// Beyond what any token has; what is computed from a number below it does not overflow.
constexpr std::int64_t kLargest = 1'000'000'000;

struct NamedProfile {
  std::string_view name;
  Profile profile;
};
constexpr NamedProfile kProfiles[] = {
    {"network", {3'000'000, 30, 10'000}},
    {"pcie", {300'000, 16, 0}},
    {"smartcard", {300'000'000, 1, 0}},
    {"instant", {0, 64, 0}},
};

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool good = error == std::errc() && end == text.data() + text.size() && number >= 0 && number <= kLargest;
  return good ? std::optional(number) : std::nullopt;
}

bool Apply(std::string_view word, Profile& profile) {
  for (const NamedProfile& named : kProfiles) {
    if (named.name != word) continue;
    profile = named.profile;
    return true;
  }
  if (word == "hardware") {
    profile.hardware = true;
    return true;
  }
  const std::size_t equals = std::min(word.find('='), word.size());
  const std::string_view name = word.substr(0, equals);
  const auto number = Number(word.substr(std::min(equals + 1, word.size())));
  if (!number) return false;
  if (name == "latency_us") {
    profile.latency_ns = *number * 1000;
  } else if (name == "sessions" && *number > 0) {
    profile.sessions = static_cast<unsigned long>(*number);
  } else if (name == "rate") {
    profile.rate = *number;
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::optional<Profile> ParseProfile(std::string_view text) {
  Profile profile;
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (!Apply(text.substr(0, comma), profile)) return std::nullopt;
    if (comma == text.size()) return profile;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace faulty
