#include "signerd/pipeline/wrong_signatures.h"

#include <utility>

#include "firmware/runtime/log.h"

namespace hallmark::pipeline {
namespace {

constexpr std::chrono::minutes kTellEvery{1};

}  // namespace

void WrongSignatures::Count(std::string_view token, const std::string& key, bool refused, Time now) {
  TellRest(now);
  const std::lock_guard lock(mutex_);
  auto found = tokens_.find(token);
  if (found == tokens_.end()) found = tokens_.try_emplace(std::string(token)).first;
  Token& of = found->second;
  if (of.told == Time() || now - of.told >= kTellEvery) of = {.told = now};
  if (refused && !std::exchange(of.told_refused, true)) {
    log::error("token {}: a signature with {} does not verify, when made anew either: the message is refused", token,
               key);
  } else if (!refused && !std::exchange(of.told_wrong, true)) {
    log::warn("token {}: a signature with {} does not verify: the message is signed again", token, key);
  } else {
    ++(refused ? of.refused : of.wrong);
    untold_ = true;
  }
}

void WrongSignatures::TellRest(Time now) {
  const std::lock_guard lock(mutex_);
  bool left = false;
  for (auto& [name, token] : tokens_) {
    if (token.wrong + token.refused == 0) continue;
    if (now - token.told < kTellEvery) {
      left = true;
      continue;
    }
    log::warn("token {}: {} more signatures did not verify; {} more messages were refused for them", name,
              token.wrong + token.refused, token.refused);
    token = {.told = now, .told_wrong = true, .told_refused = true};
  }
  untold_ = left;
}

}  // namespace hallmark::pipeline
