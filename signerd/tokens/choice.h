#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

// Which token of a group makes a signature. Pure.
namespace hallmark::tokens {

// How much speaks against a token; the lower the better.
enum class Doubt : std::uint8_t {
  kNone,
  kSick,      // it is ready, but failed or hung lately, or has not answered for long
  kStarting,  // signatures wait for it
  kAway,      // it refuses them
  kLacking,   // it is known not to have the key, or another in its place
};

// What is known of a token at that moment.
struct Candidate {
  Doubt doubt = Doubt::kNone;
  bool tried = false;      // it was asked for this signature before
  std::size_t load = 0;    // signatures in flight and waiting
  unsigned sessions = 1;   // that it works on at once
  double service = 0;      // seconds that a session takes for one; 0: not known yet
  std::uint64_t turn = 0;  // when it was last chosen, counted in choices
};

// Until one more would be made, about: the sessions work side by side, and a token that has less to do is quicker even
// while some of its sessions are free.
inline double CostOf(const Candidate& candidate) {
  const double sessions = std::max(1U, candidate.sessions);
  return candidate.service * (static_cast<double>(candidate.load) + sessions) / sessions;
}

// One of the least loaded of those with the least doubt, at most `worst`, that were not tried. Of
// about equals, whoever was not chosen for longest: so each is seen to work. A token whose pace is not known is tried
// first.
inline std::optional<std::size_t> Choose(std::span<const Candidate> candidates, Doubt worst) {
  constexpr double kAboutEqual = 1.5;
  const auto may = [&](const Candidate& one) { return one.doubt <= worst && !one.tried; };
  const auto rank = [](const Candidate& one) { return std::pair(one.doubt, CostOf(one)); };
  const Candidate* least = nullptr;
  for (const Candidate& one : candidates) {
    if (may(one) && (least == nullptr || rank(one) < rank(*least))) least = &one;
  }
  if (least == nullptr) return std::nullopt;
  const auto turn = [](const Candidate& one) { return std::tuple(one.turn, CostOf(one), one.load); };
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& one = candidates[i];
    if (!may(one) || one.doubt != least->doubt || CostOf(one) > kAboutEqual * CostOf(*least)) continue;
    if (!best || turn(one) < turn(candidates[*best])) best = i;
  }
  return best;
}

}  // namespace hallmark::tokens
