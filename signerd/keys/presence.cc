#include "signerd/keys/presence.h"

#include <algorithm>
#include <tuple>

namespace hallmark::keys {
namespace {

// Of its time it waits nine tenths; but a call may have waited itself, behind a key that was made.
constexpr int kRest = 9;
constexpr std::chrono::steady_clock::duration kLongestRest = std::chrono::seconds(1);

bool Before(const Presence::Missing& a, const Presence::Missing& b) {
  return std::tie(a.domain, a.selector) < std::tie(b.domain, b.selector);
}

}  // namespace

Presence::Presence(std::function<Keys()> active_keys, Signer& signer, std::chrono::seconds interval,
                   std::chrono::milliseconds soon)
    : active_keys_(std::move(active_keys)), signer_(signer), interval_(interval), soon_(soon) {}

void Presence::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Presence::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Presence::View Presence::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

bool Presence::Wait(std::chrono::nanoseconds time) {
  std::unique_lock lock(mutex_);
  return wake_.wait_for(lock, time, [this] { return stopping_; });
}

void Presence::Run() {
  while (true) {
    const bool answered = LookAtAll();
    const View seen = view();
    const bool well = answered && seen.missing.empty() && seen.partial.empty();
    if (Wait(well ? std::chrono::nanoseconds(interval_) : std::chrono::nanoseconds(soon_))) return;
  }
}

std::vector<std::string> Presence::View::TokensWithout(const std::string& domain, const std::string& selector) const {
  const auto [first, last] =
      std::equal_range(partial.begin(), partial.end(), Missing{domain, selector, {}, {}}, Before);
  std::vector<std::string> tokens;
  std::transform(first, last, std::back_inserter(tokens), [](const Missing& one) { return one.token; });
  return tokens;
}

Result<std::string> Presence::WhyNot(const std::string& token, const snapshot::Key& key) {
  const auto found = signer_.Find(token, key.cka_id);
  if (!found && found.error().reason == Reason::kKeyMissing) return "it is not in the token " + token;
  if (!found) return found.error();
  if (found->spki != key.public_key->Spki()) return "the token " + token + " has another key in its place";
  return found->sensitive && !found->extractable ? "" : "it can leave the token " + token;
}

void Presence::LookAt(const snapshot::Key& key, std::set<std::string>& silent, View& view) {
  if (!signer_.HasToken(key.token)) {
    ++view.looked;
    view.missing.push_back(
        {key.domain, key.selector, key.token, "the token " + key.token + " is not in the configuration"});
    return;
  }
  std::vector<Missing> without;
  bool there = false, all_answered = true;
  for (const std::string& token : signer_.MembersOf(key.token)) {
    const auto why = silent.contains(token) ? MakeError(Reason::kTokenDown, "") : WhyNot(token, key);
    if (!why) silent.insert(token);
    if (why && !why->empty()) without.push_back({key.domain, key.selector, token, *why});
    there = there || (why && why->empty());
    all_answered = all_answered && why;
  }
  if (!there && !all_answered) return;  // it may be in the one that is silent
  ++view.looked;
  auto& list = there ? view.partial : view.missing;
  if (!there && without.size() > 1) {
    without = {{key.domain, key.selector, key.token, "it is in no token of the group " + key.token}};
  }
  list.insert(list.end(), without.begin(), without.end());
}

bool Presence::LookAtAll() {
  const Keys keys = active_keys_();
  View next;
  next.time = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  next.keys = keys.size();
  std::set<std::string> silent;  // tokens: what their keys were before is not known to be otherwise
  const View before = view();
  std::set<std::pair<std::string, std::string>> unknown;
  for (const auto& key : keys) {
    const auto begun = std::chrono::steady_clock::now();
    const std::size_t looked = next.looked;
    LookAt(*key, silent, next);
    if (next.looked == looked) unknown.emplace(key->domain, key->selector);
    if (Wait(std::min((std::chrono::steady_clock::now() - begun) * kRest, kLongestRest))) return false;
  }
  for (const Missing& missing : before.missing) {
    if (unknown.contains({missing.domain, missing.selector})) next.missing.push_back(missing);
  }
  for (const Missing& partial : before.partial) {
    if (silent.contains(partial.token)) next.partial.push_back(partial);
  }
  std::sort(next.missing.begin(), next.missing.end(), Before);
  std::sort(next.partial.begin(), next.partial.end(), Before);
  const std::lock_guard lock(mutex_);
  view_ = std::move(next);
  return silent.empty();
}

}  // namespace hallmark::keys
