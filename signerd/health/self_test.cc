#include "signerd/health/self_test.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <future>

namespace hallmark::health {
namespace {

constexpr std::chrono::seconds kWait{10};
constexpr std::size_t kOctets = 32;
// One missing key must not take the whole token out of service.
constexpr std::size_t kMostKeys = 3;

std::string_view StateName(link::TokenState state) {
  using enum link::TokenState;
  switch (state) {
    case kStarting: return "it is being started";
    case kReady: return "ready";
    case kAbsent: return "the module has no such token";
    case kPinRejected: return "the PIN was refused";
    case kDown: return "it does not answer";
  }
  std::abort();  // Unreachable: the link has checked it.
}

std::string NameOf(const snapshot::Key& key) {
  return key.domain.empty() ? "the ledger's key" : key.selector + "._domainkey." + key.domain;
}

bool IsBusy(Reason reason) {
  return reason == Reason::kOverloaded || reason == Reason::kDeadlineExceeded || reason == Reason::kShuttingDown;
}

// What says something of this key only.
bool IsOfKey(Reason reason) {
  return reason == Reason::kKeyMissing || reason == Reason::kKeyMismatch || reason == Reason::kSignatureInvalid ||
         reason == Reason::kTokenRefused;
}

}  // namespace

std::vector<SelfTest::KeyPointer> SelfTest::KeysOf(const std::string& group) const {
  std::vector<KeyPointer> keys;
  const auto view = parts_.snapshot.Get();
  for (const auto& [name, domain] : view->domains) {
    for (const auto& key : domain.active_keys) {
      if (key->token != group || keys.size() == kMostKeys) continue;
      keys.push_back(key);
    }
    if (keys.size() == kMostKeys) break;
  }
  const KeyPointer checkpoint = parts_.checkpoint_key();
  if (checkpoint != nullptr && checkpoint->token == group) keys.push_back(checkpoint);
  return keys;
}

Status SelfTest::SignWith(const KeyPointer& key, const std::string& token) const {
  std::string text(kOctets, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(text.data()), static_cast<int>(text.size())) != 1) {
    return MakeError(Reason::kInternal, "OpenSSL has no random octets");
  }
  dkim::Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  auto promise = std::make_shared<std::promise<Result<tokens::Made>>>();
  auto answer = promise->get_future();
  tokens::Signing signing{key,
                          digest,
                          &text,
                          std::chrono::steady_clock::now() + kWait,
                          tokens::Flow{"operators"},
                          nullptr,
                          [promise](Result<tokens::Made> made) { promise->set_value(std::move(made)); }};
  signing.only = token;
  std::vector<tokens::Signing> batch;
  batch.push_back(std::move(signing));
  parts_.tokens.Sign(std::move(batch));
  const Result<tokens::Made> made = answer.get();
  if (!made) return made.error();
  if (key->public_key->Verify(digest, made->signature)) return Ok();
  return MakeError(Reason::kSignatureInvalid, "its signature does not verify");
}

Reading SelfTest::Run(const tokens::TokenFacts& token) {
  const std::string name = std::string(kSigning) + token.name;
  const auto reading = [&](Level level, const std::string& message) {
    return MakeReading(name, level, message, parts_.clock.Now());
  };
  if (token.status.state != link::TokenState::kReady) {
    const std::string& why = token.status.message;
    return reading(kFailed, why.empty() ? std::string(StateName(token.status.state)) : why);
  }
  std::string broken;
  bool wrong = false;  // a signature was
  for (const KeyPointer& key : KeysOf(token.group)) {
    const auto begun = std::chrono::steady_clock::now();
    const Status done = SignWith(key, token.name);
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
    if (done) {
      parts_.tokens.SetSick(token.name, false);
      signed_.insert(token.name);
      if (!broken.empty()) return reading(kWarning, broken);
      return reading(kOk, "test signature in " + std::to_string(took) + " ms");
    }
    const std::string what = NameOf(*key) + ": " + done.error().message;
    // A module that hangs looks busy too: what has never signed yet may be one.
    if (IsBusy(done.error().reason)) return reading(signed_.contains(token.name) ? kWarning : kUnknown, what);
    if (broken.empty()) broken = what;
    wrong = wrong || done.error().reason == Reason::kSignatureInvalid;
    if (!IsOfKey(done.error().reason)) break;
  }
  parts_.tokens.SetSick(token.name, !broken.empty());
  // Nobody else may see it: a token that fails its test gets no messages.
  if (wrong) parts_.tokens.Distrust(token.name);
  if (broken.empty()) return reading(kUnknown, std::string(kNoKey));
  return reading(kFailed, broken);
}

}  // namespace hallmark::health
