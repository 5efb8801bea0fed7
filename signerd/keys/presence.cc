#include "signerd/keys/presence.h"

#include <algorithm>
#include <set>

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
    const bool well = answered && view().missing.empty();
    if (Wait(well ? std::chrono::nanoseconds(interval_) : std::chrono::nanoseconds(soon_))) return;
  }
}

bool Presence::LookAtAll() {
  const Keys keys = active_keys_();
  View next;
  next.time = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  next.keys = keys.size();
  std::set<std::string> silent;  // tokens: what their keys were before is not known to be otherwise
  const View before = view();
  for (const auto& key : keys) {
    const auto begun = std::chrono::steady_clock::now();
    if (silent.contains(key->token)) continue;
    std::string why;
    if (!signer_.HasToken(key->token)) {
      why = "the token " + key->token + " is not in the configuration";
    } else if (const auto found = signer_.Find(key->token, key->cka_id); !found) {
      if (found.error().reason == Reason::kKeyMissing) {
        why = "it is not in the token " + key->token;
      } else {
        silent.insert(key->token);
        continue;
      }
    } else if (found->spki != key->public_key->Spki()) {
      why = "the token " + key->token + " has another key in its place";
    }
    ++next.looked;
    if (!why.empty()) next.missing.push_back({key->domain, key->selector, key->token, why});
    if (Wait(std::min((std::chrono::steady_clock::now() - begun) * kRest, kLongestRest))) return false;
  }
  for (const Missing& missing : before.missing) {
    if (silent.contains(missing.token)) next.missing.push_back(missing);
  }
  std::sort(next.missing.begin(), next.missing.end(), Before);
  const std::lock_guard lock(mutex_);
  view_ = std::move(next);
  return silent.empty();
}

}  // namespace hallmark::keys
