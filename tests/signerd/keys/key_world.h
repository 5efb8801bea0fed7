#pragma once

#include <openssl/evp.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sample.h"
#include "signerd/dkim/sha256.h"
#include "signerd/keys/rotator.h"

// A domain's keys with a token and a DNS that fail as a test wants. rotation/ has the same with real ones.
namespace hallmark::test {

// Thrown where the daemon is to die.
struct Died {};

// Ed25519 pairs; "group" is the group of "one" and "two", and makes pairs in the first that answers. One thread.
class PairTokens final : public keys::Signer {
 public:
  std::set<std::string> silent;  // tokens
  std::set<std::string> unable;  // selectors that are not signed with now
  std::set<Bytes> halves;        // CKA_IDs whose pairs lack their public object
  bool dies_when_made = false;
  std::map<std::pair<std::string, Bytes>, std::shared_ptr<EVP_PKEY>> pairs;  // by token and CKA_ID

  bool HasToken(const std::string&) const override { return true; }
  std::vector<std::string> MembersOf(const std::string& token) const override {
    return token == "group" ? std::vector<std::string>{"one", "two"} : std::vector{token};
  }
  std::string DefaultToken() const override { return "softhsm"; }
  Status CanMake(const std::string&, dkim::Algorithm) const override { return Ok(); }
  Result<keys::TokenKey> Find(const std::string& token, const Bytes& cka_id) override {
    std::optional<Error> error;
    for (const std::string& member : MembersOf(token)) {
      if (silent.contains(member)) {
        if (!error) error = MakeError(Reason::kTokenDown, member + " is down");
      } else if (halves.contains(cka_id)) {
        if (!error) error = MakeError(Reason::kTokenRefused, "the public part of the key cannot be read");
      } else if (const auto found = pairs.find({member, cka_id}); found != pairs.end()) {
        return Describe(found->second.get());
      } else {
        error = MakeError(Reason::kKeyMissing, "no such pair in " + member);
      }
    }
    return *error;
  }
  Result<keys::TokenKey> Generate(const std::string& token, const keys::KeySpec&, const Bytes& cka_id,
                                  const std::string&) override {
    for (const std::string& member : MembersOf(token)) {
      if (silent.contains(member)) continue;
      const std::shared_ptr<EVP_PKEY> pair(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free);
      pairs[{member, cka_id}] = pair;
      if (std::exchange(dies_when_made, false)) throw Died();
      return Describe(pair.get());
    }
    return MakeError(Reason::kTokenDown, token + " is down");
  }
  Result<Bytes> BeginImport(const std::string&) override { return Unused(); }
  Result<keys::TokenKey> Import(const std::string&, const keys::WrappedKey&, const Bytes&,
                                const std::string&) override {
    return Unused();
  }
  Status Destroy(const std::string& token, const Bytes& cka_id, const Bytes&) override {
    for (const std::string& member : MembersOf(token)) pairs.erase({member, cka_id});
    return Ok();
  }
  Result<Bytes> Sign(std::shared_ptr<const snapshot::Key> key, const std::string& text) override {
    if (unable.contains(key->selector)) return MakeError(Reason::kTokenDown, "the token is away");
    for (const std::string& member : MembersOf(key->token)) {
      const auto found = pairs.find({member, key->cka_id});
      if (found == pairs.end()) continue;
      const dkim::Digest digest = dkim::Sha256Of(text);
      const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
      Bytes signature(64);
      std::size_t size = signature.size();
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, found->second.get());
      EVP_DigestSign(context.get(), signature.data(), &size, digest.data(), digest.size());
      return signature;
    }
    return MakeError(Reason::kKeyMissing, "no such pair");
  }

 private:
  static Error Unused() { return MakeError(Reason::kInternal, "not part of this test"); }
  static Result<keys::TokenKey> Describe(EVP_PKEY* pair) {
    Bytes raw(32);
    std::size_t size = raw.size();
    EVP_PKEY_get_raw_public_key(pair, raw.data(), &size);
    return keys::TokenKey{dkim::PublicKey::FromEd25519(raw)->Spki(), true, false};
  }
};

// Two servers that have the same records at once. One thread.
class FakeDns final : public keys::RecordPublisher, public keys::RecordObserver {
 public:
  std::map<std::string, std::string> records;
  std::set<std::string> silent;           // servers: "ns1", "ns2"
  std::vector<std::string> publishers;    // that were asked to put or remove something
  std::set<std::string> unknown{"gone"};  // publishers that are not in the configuration
  bool dies_when_put = false;
  bool answer_is_lost = false;  // of the next change, which is made

  bool HasPublisher(const std::string& publisher) const override { return !unknown.contains(publisher); }
  Status Put(const std::string& publisher, const std::string& name, const std::string& value, std::chrono::seconds,
             std::span<const std::string> ours) override {
    publishers.push_back(publisher);
    if (!HasPublisher(publisher)) return MakeError(Reason::kNotFound, publisher + " is not in the configuration");
    if (IsForeign(name, ours)) return MakeError(Reason::kRecordConflict, name + " has a record that is not ours");
    records[name] = value;
    if (std::exchange(dies_when_put, false)) throw Died();
    if (std::exchange(answer_is_lost, false)) return MakeError(Reason::kDnsUnavailable, "no answer");
    return Ok();
  }
  Status Remove(const std::string& publisher, const std::string& name, std::span<const std::string> ours) override {
    publishers.push_back(publisher);
    if (!HasPublisher(publisher)) return MakeError(Reason::kNotFound, publisher + " is not in the configuration");
    if (IsForeign(name, ours)) return MakeError(Reason::kRecordConflict, name + " has a record that is not ours");
    records.erase(name);
    return Ok();
  }
  Result<keys::RecordView> Observe(const std::string& name) override {
    using Kind = keys::ServerView::Kind;
    keys::RecordView view{{}, std::chrono::seconds(600), std::chrono::seconds(300)};
    for (const char* server : {"ns1", "ns2"}) {
      keys::ServerView& one = view.servers.emplace_back();
      one.server = server;
      const auto found = records.find(name);
      if (silent.contains(server)) {
        one.detail = "no answer";
      } else if (found == records.end()) {
        one.kind = Kind::kNone;
      } else {
        one.kind = Kind::kRecords;
        one.values = {found->second};
      }
    }
    return view;
  }

 private:
  bool IsForeign(const std::string& name, std::span<const std::string> ours) const {
    const auto found = records.find(name);
    return found != records.end() && std::find(ours.begin(), ours.end(), found->second) == ours.end();
  }
};

class KeyWorld {
 public:
  static constexpr char kDomain[] = "example.com";
  static constexpr std::chrono::sys_seconds kStart{std::chrono::seconds(1'769'860'800)};

  KeyWorld() {
    static_cast<void>(store->InsertDomain({kDomain, "default", kStart}));
    policy.algorithms = {{dkim::Algorithm::kEd25519Sha256, 0}, {dkim::Algorithm::kEd25519Sha256, 0}};
    policy.publisher = "main";
    SetPolicy();
    Start();
  }
  void Start() {
    rotator.reset();
    manager = std::make_unique<keys::KeyManager>(*store, tokens, clock, [this] { return Publish(); });
    rotator = std::make_unique<keys::Rotator>(
        keys::RotationParts{*store, tokens, dns, dns, clock, [this] { return Publish(); },
                            [this] { return unpublished ? Publish() : Ok(); },
                            [this](const store::KeyEvent& event, const std::string& outcome) {
                              if (journaled) journaled(event, outcome);
                              return Ok();
                            },
                            [this](std::chrono::sys_seconds time) {
                              if (!clock_is_set || time >= jumped) return clock_is_set;
                              return Status(MakeError(Reason::kStateConflict, "the clock says 2031-01-01"));
                            }},
        manager->locks());
  }
  Status Publish() {
    unpublished = !publishes;
    published += publishes ? 1 : 0;
    return publishes;
  }
  void SetPolicy() { static_cast<void>(store->PutRotationPolicy(policy)); }
  // One look at the domain; where the daemon dies in it, it starts again.
  std::chrono::sys_seconds Tick() {
    try {
      return rotator->Tick(kDomain).time;
    } catch (const Died&) {
      Start();
      return clock.Now();
    }
  }
  // Looks whenever it is due until `length` has passed.
  void Live(std::chrono::seconds length) {
    const auto end = clock.Now() + length;
    while (true) {
      const auto next = std::max(Tick(), clock.Now() + std::chrono::seconds(1));
      if (next > end) break;
      clock.Set(next);
    }
    clock.Set(end);
  }
  store::DomainLife Life() { return *store->GetDomainLife(kDomain); }
  std::vector<std::string> In(snapshot::KeyState state) {
    std::vector<std::string> selectors;
    for (const auto& key : Life().keys) {
      if (key.key.state == state) selectors.push_back(key.key.selector);
    }
    return selectors;
  }
  store::KeyLife Key(const std::string& selector) { return *store->GetKeyLife(kDomain, selector); }
  static std::string Name(const std::string& selector) { return selector + "._domainkey." + kDomain; }

  TemporaryFolder folder;
  std::unique_ptr<store::Store> store = std::move(*store::Store::Open(folder.path() / "hallmark.db"));
  ManualClock clock{kStart};
  PairTokens tokens;
  FakeDns dns;
  store::RotationPolicy policy;
  Status clock_is_set = Ok();
  std::chrono::sys_seconds jumped{};  // when it did, by itself
  Status publishes = Ok();            // what publishing a snapshot gives
  bool unpublished = false;
  int published = 0;
  std::function<void(const store::KeyEvent& event, const std::string& outcome)>
      journaled;  // from the rotation's thread
  std::unique_ptr<keys::KeyManager> manager;
  std::unique_ptr<keys::Rotator> rotator;
};

}  // namespace hallmark::test
