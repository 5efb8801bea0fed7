#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "signerd/keys/key_manager.h"

namespace hallmark::test {

// Tokens that have the pairs that a test puts in, and may be silent; "group" is the group of "one" and "two". Any
// thread.
class FakeTokens final : public keys::Signer {
 public:
  void Put(const std::string& token, const Bytes& cka_id, const Bytes& spki) {
    const std::lock_guard lock(mutex_);
    pairs_[{token, cka_id}] = spki;
  }
  void Lose(const std::string& token, const Bytes& cka_id) {
    const std::lock_guard lock(mutex_);
    pairs_.erase({token, cka_id});
  }
  void SetSilent(const std::string& token, bool silent) {
    const std::lock_guard lock(mutex_);
    silent ? static_cast<void>(silent_.insert(token)) : static_cast<void>(silent_.erase(token));
  }
  // This pair is not destroyed.
  void Refuse(const std::string& token, const Bytes& cka_id) {
    const std::lock_guard lock(mutex_);
    refused_.insert({token, cka_id});
  }
  // What Generate() puts into the token, and what it answers then. Before the first call it makes nothing.
  void SetGenerated(const keys::TokenKey& made, Status answer = Ok()) {
    const std::lock_guard lock(mutex_);
    generated_ = {made, std::move(answer)};
  }
  int generations() const {
    const std::lock_guard lock(mutex_);
    return generations_;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return pairs_.size();
  }

  bool HasToken(const std::string& token) const override { return token != "removed"; }
  std::vector<std::string> MembersOf(const std::string& token) const override {
    return token == "group" ? std::vector<std::string>{"one", "two"} : std::vector{token};
  }
  std::string DefaultToken() const override { return "softhsm"; }
  Status CanMake(const std::string&, dkim::Algorithm) const override { return Ok(); }
  Result<keys::TokenKey> Find(const std::string& token, const Bytes& cka_id) override {
    const std::lock_guard lock(mutex_);
    if (silent_.contains(token)) return MakeError(Reason::kTokenDown, "token " + token + " is down");
    const auto found = pairs_.find({token, cka_id});
    if (found == pairs_.end()) return MakeError(Reason::kKeyMissing, "no such key");
    return keys::TokenKey{found->second, true, false};
  }
  Status Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) override {
    const std::lock_guard lock(mutex_);
    const auto found = pairs_.find({token, cka_id});
    if (found == pairs_.end()) return Ok();
    if (found->second != spki) return MakeError(Reason::kKeyMismatch, "another key");
    if (refused_.contains(found->first)) return MakeError(Reason::kTokenRefused, "it may not be");
    pairs_.erase(found);
    return Ok();
  }
  Result<keys::TokenKey> Generate(const std::string& token, const keys::KeySpec&, const Bytes& cka_id,
                                  const std::string&) override {
    const std::lock_guard lock(mutex_);
    if (!generated_) return Unused();
    ++generations_;
    pairs_[{token, cka_id}] = generated_->first.spki;
    if (!generated_->second) return generated_->second.error();
    return generated_->first;
  }
  Result<Bytes> BeginImport(const std::string&) override { return Unused(); }
  Result<keys::TokenKey> Import(const std::string&, const keys::WrappedKey&, const Bytes&,
                                const std::string&) override {
    return Unused();
  }
  Result<Bytes> Sign(std::shared_ptr<const snapshot::Key>, const std::string&) override { return Unused(); }

 private:
  static Error Unused() { return MakeError(Reason::kInternal, "not part of this test"); }
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::pair<std::string, Bytes>, Bytes> pairs_;
  std::set<std::string> silent_;
  std::set<std::pair<std::string, Bytes>> refused_;
  std::optional<std::pair<keys::TokenKey, Status>> generated_;
  int generations_ = 0;
};

}  // namespace hallmark::test
