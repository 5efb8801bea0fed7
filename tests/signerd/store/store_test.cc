#include "signerd/store/store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "sample.h"

namespace hallmark::store {
namespace {

using snapshot::KeyState;

constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'800'000'000)};

class StoreTest : public testing::Test {
 protected:
  StoreTest() { Reopen(); }
  void Reopen() {
    store_.reset();
    auto opened = Store::Open(path_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  Status Change(const std::string& domain, const std::string& selector, KeyState from, KeyState to,
                std::chrono::sys_seconds now) {
    auto life = store_->GetKeyLife(domain, selector);
    if (!life) return life.error();
    life->key.state = to;
    life->key.state_since = now;
    RotationCommit commit;
    commit.domain = domain;
    commit.keys.push_back({*life, from});
    return store_->CommitRotation(commit);
  }
  test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "hallmark.db";
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, KeepsDomainsKeysAndProfilesAcrossARestart) {
  dkim::SigningProfile profile = dkim::DefaultProfile();
  profile.name = "strict";
  profile.header = dkim::Canonicalization::kSimple;
  profile.line_endings = dkim::LineEndings::kRefuse;
  profile.signed_fields = {"From", "X-Ours"};
  profile.auid = "@example.com";
  profile.expires_after = std::chrono::hours(24 * 7);
  profile.timestamp = false;
  profile.query_method = profile.copied_fields = profile.body_length = true;
  ASSERT_TRUE(store_->InsertProfile(profile));
  ASSERT_TRUE(store_->InsertDomain({"example.com", "strict", kNow}));
  snapshot::Key key = test::SampleKey("example.com", "s1");
  ASSERT_TRUE(store_->InsertKey(key));
  ASSERT_TRUE(Change("example.com", "s1", KeyState::kGenerated, KeyState::kActive, kNow));
  Reopen();

  const auto read = store_->GetProfile("strict");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->header, profile.header);
  EXPECT_EQ(read->body, profile.body);
  EXPECT_EQ(read->line_endings, profile.line_endings);
  EXPECT_EQ(read->signed_fields, profile.signed_fields);
  EXPECT_EQ(read->oversigned_fields, profile.oversigned_fields);
  EXPECT_EQ(read->excluded_fields, profile.excluded_fields);
  EXPECT_EQ(read->auid, profile.auid);
  EXPECT_EQ(read->expires_after, profile.expires_after);
  EXPECT_FALSE(read->timestamp);
  EXPECT_TRUE(read->query_method && read->copied_fields && read->body_length);

  const auto same = store_->GetKey("example.com", "s1");
  ASSERT_TRUE(same);
  EXPECT_EQ(same->cka_id, key.cka_id);
  EXPECT_EQ(same->public_key->Spki(), key.public_key->Spki());
  EXPECT_EQ(same->state, KeyState::kActive);
  EXPECT_EQ(same->state_since, kNow);

  const auto view = store_->BuildSnapshot(nullptr);
  ASSERT_TRUE(view);
  const snapshot::Domain* domain = (*view)->FindDomain("example.com");
  ASSERT_NE(domain, nullptr);
  EXPECT_EQ(domain->profile->name, "strict");
  ASSERT_EQ(domain->active_keys.size(), 1u);
}

TEST_F(StoreTest, SnapshotHasActiveKeysOnly) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  for (const char* selector : {"a", "b", "c"}) ASSERT_TRUE(store_->InsertKey(test::SampleKey("example.com", selector)));
  ASSERT_TRUE(Change("example.com", "b", KeyState::kGenerated, KeyState::kActive, kNow));
  ASSERT_TRUE(Change("example.com", "c", KeyState::kGenerated, KeyState::kActive, kNow));
  ASSERT_TRUE(Change("example.com", "c", KeyState::kActive, KeyState::kRetiring, kNow));
  const auto view = store_->BuildSnapshot(nullptr);
  ASSERT_TRUE(view);
  const auto& active = (*view)->FindDomain("example.com")->active_keys;
  ASSERT_EQ(active.size(), 1u);
  EXPECT_EQ(active.front()->selector, "b");
  EXPECT_EQ(store_->GetDomain("example.com")->active_keys, 1);
}

TEST_F(StoreTest, SnapshotIsWholeWhileOthersChangeTheStore) {
  constexpr int kDomains = 200;
  const auto add = [this] {
    for (int i = 0; i < kDomains; ++i) {
      const std::string number = std::to_string(i), domain = "d" + number + ".example";
      dkim::SigningProfile profile = dkim::DefaultProfile();
      profile.name = "p" + number;
      ASSERT_TRUE(store_->InsertProfile(profile));
      ASSERT_TRUE(store_->InsertDomain({domain, profile.name, kNow}));
      ASSERT_TRUE(store_->InsertKey(test::SampleKey(domain, "s")));
      ASSERT_TRUE(Change(domain, "s", KeyState::kGenerated, KeyState::kActive, kNow));
    }
  };
  std::atomic<bool> over = false;
  std::jthread other([&] {
    add();
    over = true;
  });
  while (!over) {
    const auto built = store_->BuildSnapshot(nullptr);
    ASSERT_TRUE(built) << built.error().message;
  }
  EXPECT_EQ((*store_->BuildSnapshot(nullptr))->domains.size(), kDomains);
}

TEST_F(StoreTest, SnapshotsShareTheKeysThatAreTheSame) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  for (const char* selector : {"a", "b"}) {
    ASSERT_TRUE(store_->InsertKey(test::SampleKey("example.com", selector)));
    ASSERT_TRUE(Change("example.com", selector, KeyState::kGenerated, KeyState::kActive, kNow));
  }
  const auto first = *store_->BuildSnapshot(nullptr);
  // "b" goes and comes back, which makes it another record.
  ASSERT_TRUE(Change("example.com", "b", KeyState::kActive, KeyState::kRetiring, kNow));
  ASSERT_TRUE(Change("example.com", "b", KeyState::kRetiring, KeyState::kActive, kNow + std::chrono::seconds(1)));
  const auto second = *store_->BuildSnapshot(first.get());
  const auto& before = first->FindDomain("example.com")->active_keys;
  const auto& after = second->FindDomain("example.com")->active_keys;
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[1], before[1]);
  EXPECT_EQ(after[1]->state_since, kNow + std::chrono::seconds(1));
}

TEST_F(StoreTest, RefusesASecondOfTheSameName) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  EXPECT_EQ(store_->InsertDomain({"example.com", "default", kNow}).error().reason, Reason::kAlreadyExists);
  ASSERT_TRUE(store_->InsertKey(test::SampleKey("example.com", "s1")));
  EXPECT_EQ(store_->InsertKey(test::SampleKey("example.com", "s1")).error().reason, Reason::kAlreadyExists);
  EXPECT_TRUE(*store_->SelectorTaken("example.com", "s1"));
  EXPECT_FALSE(*store_->SelectorTaken("example.com", "s2"));
}

TEST_F(StoreTest, AKeyNeedsItsDomain) { EXPECT_FALSE(store_->InsertKey(test::SampleKey("absent.example", "s1"))); }

TEST_F(StoreTest, AChangeFromAnotherStateIsRefused) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  ASSERT_TRUE(store_->InsertKey(test::SampleKey("example.com", "s1")));
  const auto changed = Change("example.com", "s1", KeyState::kActive, KeyState::kRetiring, kNow);
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().reason, Reason::kStateConflict);
  EXPECT_EQ(store_->GetKey("example.com", "s1")->state, KeyState::kGenerated);
}

TEST_F(StoreTest, PagesGoOnWhereTheLastEnded) {
  for (int i = 0; i < 25; ++i) {
    const std::string name = "d" + std::to_string(100 + i) + ".example";
    ASSERT_TRUE(store_->InsertDomain({name, "default", kNow}));
    ASSERT_TRUE(store_->InsertKey(test::SampleKey(name, "s1")));
    ASSERT_TRUE(store_->InsertKey(test::SampleKey(name, "s2")));
  }
  std::vector<std::string> names;
  for (std::string after;;) {
    const auto keys = store_->ListKeys("", {after, 7});
    ASSERT_TRUE(keys);
    if (keys->empty()) break;
    for (const auto& key : *keys) names.push_back(key.domain + "/" + key.selector);
    after = names.back();
  }
  EXPECT_EQ(names.size(), 50u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(store_->ListDomains({"d123.example", 10})->size(), 1u);
  EXPECT_EQ(store_->ListKeys("d100.example", {"", 10})->size(), 2u);
}

TEST_F(StoreTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(store_->GetDomain("x.example").error().reason, Reason::kNotFound);
  EXPECT_EQ(store_->GetKey("x.example", "s").error().reason, Reason::kNotFound);
  EXPECT_EQ(store_->GetProfile("x").error().reason, Reason::kNotFound);
  EXPECT_EQ(store_->SetDomainProfile("x.example", "default").error().reason, Reason::kNotFound);
}

TEST_F(StoreTest, RefusesADatabaseOfANewerSchemaAndAFileThatIsNone) {
  store_.reset();
  {
    auto database = Database::Open(path_);
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->Execute("PRAGMA user_version = 99"));
  }
  const auto newer = Store::Open(path_);
  ASSERT_FALSE(newer);
  EXPECT_NE(newer.error().message.find("newer Hallmark"), std::string::npos) << newer.error().message;

  const auto garbage = folder_.path() / "garbage.db";
  std::ofstream(garbage) << std::string(4096, 'x');
  const auto opened = Store::Open(garbage);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, Reason::kStorageFailed);
  EXPECT_FALSE(Store::Open(folder_.path() / "no" / "folder.db"));
}

// What a next Hallmark would do: a migration that changes a table and adds one, and how to take it back.
void MigrateOneStepAhead(const std::filesystem::path& path, int ahead, const std::string& undo) {
  auto database = Database::Open(path);
  ASSERT_TRUE(database);
  auto version = database->Prepare("PRAGMA user_version");
  ASSERT_TRUE(version && version->Step());
  const std::string next = std::to_string(version->Integer(0) + ahead);
  version->Reset();
  ASSERT_TRUE(database->Execute(
      "BEGIN; ALTER TABLE domain ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'; CREATE TABLE next (a INTEGER) STRICT;"
      "UPDATE domain SET colour = 'blue'; PRAGMA user_version = " +
      next + "; COMMIT"));
  auto kept = database->Prepare("INSERT INTO schema_step (version, undo) VALUES (?, ?)");
  ASSERT_TRUE(kept && kept->Bind(1, std::stol(next)).Bind(2, undo).Run());
}

TEST_F(StoreTest, TakesBackOneStepOfANewerSchema) {
  ASSERT_TRUE(store_->InsertDomain({"a.example", "default", kNow}));
  store_.reset();
  MigrateOneStepAhead(path_, 1, "ALTER TABLE domain DROP COLUMN colour; DROP TABLE next");
  Reopen();
  EXPECT_EQ(store_->GetDomain("a.example")->created, kNow);
  ASSERT_TRUE(store_->InsertDomain({"b.example", "default", kNow}));
  Reopen();  // as the version before left it: nothing is ahead any more
  EXPECT_EQ(store_->ListDomains({"", -1})->size(), 2u);
  store_.reset();
  {
    auto database = Database::Open(path_);
    EXPECT_FALSE(database->Prepare("SELECT colour FROM domain"));
    EXPECT_FALSE(database->Prepare("SELECT a FROM next"));
  }
  // And forward again, as when the update is installed once more.
  MigrateOneStepAhead(path_, 1, "ALTER TABLE domain DROP COLUMN colour; DROP TABLE next");
  Reopen();
  EXPECT_EQ(store_->ListDomains({"", -1})->size(), 2u);
}

TEST_F(StoreTest, AStepThatCannotBeTakenBackChangesNothing) {
  store_.reset();
  MigrateOneStepAhead(path_, 1, "ALTER TABLE domain DROP COLUMN colour; DROP TABLE not_there");
  const auto opened = Store::Open(path_);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("could not be taken back"), std::string::npos) << opened.error().message;
  auto database = Database::Open(path_);
  EXPECT_TRUE(database->Prepare("SELECT colour FROM domain"));
}

TEST_F(StoreTest, RefusesASchemaThatIsTwoStepsAhead) {
  store_.reset();
  MigrateOneStepAhead(path_, 2, "ALTER TABLE domain DROP COLUMN colour; DROP TABLE next");
  const auto opened = Store::Open(path_);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("newer Hallmark"), std::string::npos) << opened.error().message;
  auto database = Database::Open(path_);
  EXPECT_TRUE(database->Prepare("SELECT colour FROM domain"));
}

TEST_F(StoreTest, ACopyIsWhatTheDatabaseHoldsWhileItIsUsed) {
  ASSERT_TRUE(store_->InsertDomain({"a.example", "default", kNow}));
  const auto copy = folder_.path() / "copy.db";
  ASSERT_TRUE(Store::Copy(path_, copy));
  ASSERT_TRUE(store_->InsertDomain({"b.example", "default", kNow}));
  auto copied = Store::Open(copy);
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_EQ((*copied)->ListDomains({"", -1})->size(), 1u);
  EXPECT_FALSE(Store::Copy(path_, copy));  // not over one that is there
}

TEST_F(StoreTest, ALedgerKeyThatIsReplacedIsRemembered) {
  const auto key = [](const std::string& name) {
    return Store::LedgerKey{"softhsm", Bytes(name.begin(), name.end()), test::FreshPublicKey()->Spki()};
  };
  const auto first = key("one"), second = key("two"), third = key("three");
  ASSERT_TRUE(store_->InsertLedgerKey(first));
  EXPECT_TRUE(store_->ListPastLedgerKeys()->empty());
  ASSERT_TRUE(store_->ReplaceLedgerKey(second, "log/one"));
  ASSERT_TRUE(store_->ReplaceLedgerKey(third, "log/two"));
  Reopen();
  EXPECT_EQ((*store_->GetLedgerKey())->spki, third.spki);
  EXPECT_EQ(*store_->ListPastLedgerKeys(),
            (std::vector<Store::PastLedgerKey>{{"log/one", first.spki}, {"log/two", second.spki}}));
}

snapshot::Partner FullPartner() {
  snapshot::Partner partner = test::PartnerForAll("acme");
  partner.state = snapshot::PartnerState::kSuspended;
  partner.author_domains = *snapshot::DomainRules::Parse({".acme.example", "b.example"});
  partner.addresses = {*snapshot::AddressPattern::Parse("*@acme.example"),
                       *snapshot::AddressPattern::Parse("a b@acme.example")};
  partner.alignment = snapshot::Alignment::kOff;
  partner.message = {true, false, true, 123};
  partner.quota = {1, 2, 3, 4, 5};
  partner.not_before = kNow;
  partner.weight = 12;
  partner.watch = {{"SURGE", "HARD_LIMIT"}, 6};
  return partner;
}

TEST_F(StoreTest, KeepsPartnersAndRelaysAcrossARestart) {
  EXPECT_TRUE(store_->GetPolicy()->partners.empty());
  const snapshot::Partner acme = FullPartner();
  const snapshot::Relay relay{"r", "dns:r.example", {"acme", "own"}, snapshot::RelayState::kRevoked};
  ASSERT_TRUE(store_->ChangePolicy(*store_->GetPolicy(), {{acme, test::PartnerForAll("own")}, {relay}, {}, {}}));
  Reopen();
  const auto policy = store_->GetPolicy();
  ASSERT_TRUE(policy);
  ASSERT_EQ(policy->partners.size(), 2u);
  EXPECT_TRUE(policy->partners.at("acme") == acme);
  EXPECT_TRUE(policy->relays.at("r") == relay);
  const auto view = store_->BuildSnapshot(nullptr);
  ASSERT_TRUE(view);
  EXPECT_TRUE(*(*view)->FindPartner("acme") == acme);
  EXPECT_TRUE(*(*view)->FindRelay("dns:r.example") == relay);
  EXPECT_EQ((*view)->FindRelayByName("r"), (*view)->FindRelay("dns:r.example"));
}

TEST_F(StoreTest, APolicyIsChangedWholeOrNotAtAll) {
  const snapshot::Relay one{"one", "dns:a.example", {"own"}}, two{"two", "dns:b.example", {"own"}};
  ASSERT_TRUE(store_->ChangePolicy(*store_->GetPolicy(), {{test::PartnerForAll("own")}, {one, two}, {}, {}}));
  // Two relays exchange their identities.
  ASSERT_TRUE(store_->ChangePolicy(
      *store_->GetPolicy(), {{}, {{"one", "dns:b.example", {"own"}}, {"two", "dns:a.example", {"own"}}}, {}, {}}));
  EXPECT_EQ(store_->GetPolicy()->relays.at("one").identity, "dns:b.example");
  // An identity that is taken: nothing of the change stays.
  const auto refused = store_->ChangePolicy(
      *store_->GetPolicy(), {{test::PartnerForAll("next")}, {{"three", "dns:a.example", {"next"}}}, {}, {"one"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::kAlreadyExists);
  EXPECT_FALSE(store_->GetPolicy()->partners.contains("next"));
  EXPECT_TRUE(store_->GetPolicy()->relays.contains("one"));
  ASSERT_TRUE(store_->ChangePolicy(*store_->GetPolicy(), {{}, {}, {}, {"one"}}));
  EXPECT_FALSE(store_->GetPolicy()->relays.contains("one"));
}

// The watcher suspends from its own thread, between reading the policy and changing it.
TEST_F(StoreTest, APolicyDoesNotUndoASuspensionThatItDidNotSee) {
  using snapshot::PartnerState;
  ASSERT_TRUE(store_->ChangePolicy(*store_->GetPolicy(), {{test::PartnerForAll("own"), FullPartner()}, {}, {}, {}}));
  const snapshot::Policy seen = *store_->GetPolicy();
  snapshot::Partner heavier = seen.partners.at("own");
  heavier.weight = 7;
  ASSERT_TRUE(store_->ChangePartnerState("own", PartnerState::kActive, PartnerState::kSuspended));
  EXPECT_EQ(store_->ChangePolicy(seen, {{heavier}, {}, {}, {}}).error().reason, Reason::kStateConflict);
  EXPECT_EQ(store_->ChangePolicy(seen, {{}, {}, {"own"}, {}}).error().reason, Reason::kStateConflict);
  EXPECT_EQ(store_->GetPolicy()->partners.at("own").state, PartnerState::kSuspended);
  EXPECT_EQ(store_->GetPolicy()->partners.at("own").weight, 1);
}

TEST_F(StoreTest, StatesOfPartnersAndRelays) {
  using snapshot::PartnerState;
  ASSERT_TRUE(store_->ChangePolicy(*store_->GetPolicy(),
                                   {{test::PartnerForAll("own")}, {{"r", "dns:r.example", {"own"}}}, {}, {}}));
  ASSERT_TRUE(store_->ChangePartnerState("own", PartnerState::kActive, PartnerState::kSuspended));
  EXPECT_EQ(store_->GetPolicy()->partners.at("own").state, PartnerState::kSuspended);
  const auto late = store_->ChangePartnerState("own", PartnerState::kActive, PartnerState::kSuspended);
  EXPECT_EQ(late.error().reason, Reason::kStateConflict);
  ASSERT_TRUE(store_->SetRelayState("r", snapshot::RelayState::kRevoked));
  EXPECT_EQ(store_->GetPolicy()->relays.at("r").state, snapshot::RelayState::kRevoked);
  EXPECT_EQ(store_->SetRelayState("x", snapshot::RelayState::kRevoked).error().reason, Reason::kNotFound);
}

TEST_F(StoreTest, KeepsRevokedCertificatesAcrossARestart) {
  const std::string one(64, '1'), two(64, '2');
  ASSERT_TRUE(store_->InsertRevokedCertificate({one, "stolen", "uri:anna", kNow}));
  ASSERT_TRUE(store_->InsertRevokedCertificate({two, "", "uri:ben", kNow + std::chrono::seconds(1)}));
  EXPECT_EQ(store_->InsertRevokedCertificate({one, "again", "uri:ben", kNow}).error().reason, Reason::kAlreadyExists);
  Reopen();
  const auto listed = store_->ListRevokedCertificates();
  ASSERT_TRUE(listed && listed->size() == 2);
  EXPECT_EQ(listed->front().fingerprint, two);
  EXPECT_EQ(listed->back().reason, "stolen");
  EXPECT_EQ(listed->back().revoked_by, "uri:anna");
  ASSERT_TRUE(store_->DeleteRevokedCertificate(one));
  EXPECT_EQ(store_->DeleteRevokedCertificate(one).error().reason, Reason::kNotFound);
  const auto built = store_->BuildSnapshot(nullptr);
  ASSERT_TRUE(built);
  EXPECT_EQ((*built)->revoked_certificates, (std::set<std::string, std::less<>>{two}));
}

AlertRow SampleAlert() {
  AlertRow alert;
  alert.kind = "HEALTH";
  alert.message = "a fan stands still";
  alert.raised = kNow;
  return alert;
}

TEST_F(StoreTest, AlertsToDeliverArePagedByTheirIds) {
  std::uint64_t last = 0;
  for (int i = 0; i < 250; ++i) last = *store_->InsertAlert(SampleAlert(), true);
  const std::uint64_t not_for_it = *store_->InsertAlert(SampleAlert(), false);
  EXPECT_GT(not_for_it, last);
  std::vector<std::uint64_t> ids;
  while (true) {
    const auto page = store_->AlertsToDeliver(ids.empty() ? 0 : ids.back());
    ASSERT_TRUE(page);
    if (page->empty()) break;
    for (const AlertRow& row : *page) ids.push_back(row.id);
  }
  EXPECT_EQ(ids.size(), 250u);
  EXPECT_EQ(ids.back(), last);
  ASSERT_TRUE(store_->MarkDelivered(last, true));
  EXPECT_TRUE(store_->AlertsToDeliver(last - 1)->empty());
}

TEST_F(StoreTest, AProfileThatIsPutEmptyIsTakenOut) {
  using Profiles = std::map<std::string, std::string>;
  ASSERT_TRUE(store_->PutWatchProfiles({{"acme", "one"}, {"acme\nexample.com", "two"}, {"", "three"}}));
  ASSERT_TRUE(store_->PutWatchProfiles({{"acme", ""}, {"acme\nexample.com", "four"}, {"never there", ""}}));
  EXPECT_EQ(*store_->GetWatchProfiles(), (Profiles{{"acme\nexample.com", "four"}, {"", "three"}}));
}

TEST_F(StoreTest, KeepsWhereARotationIs) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  EXPECT_FALSE(store_->GetRotationPolicy("")->has_value());
  RotationPolicy policy;
  policy.domain = "example.com";
  policy.algorithms = {{dkim::Algorithm::kRsaSha256, 3072}};
  policy.retire = std::chrono::days(9);
  policy.publisher = "main";
  policy.delegation = "dkim.example.net";
  policy.backup_waiver = "known";
  policy.backup_waived = kNow;
  ASSERT_TRUE(store_->PutRotationPolicy(policy));

  RotationCommit begin;
  begin.domain = "example.com";
  begin.rotation = RotationRow{};
  begin.rotation->last_set = 4;
  begin.rotation->emergency = true;
  begin.plan.push_back({"new", "softhsm", {1, 2}, {dkim::Algorithm::kEd25519Sha256, 0}, 4});
  begin.events.push_back({0, "example.com", "", "domain", "", "ROTATING", kNow, kNow, "policy", ""});
  ASSERT_TRUE(store_->CommitRotation(begin));
  EXPECT_TRUE(*store_->SelectorTaken("example.com", "new"));
  Reopen();

  EXPECT_EQ((*store_->GetRotationPolicy("example.com"))->algorithms, policy.algorithms);
  EXPECT_EQ((*store_->GetRotationPolicy("example.com"))->retire, policy.retire);
  EXPECT_EQ((*store_->GetRotationPolicy("example.com"))->delegation, policy.delegation);
  EXPECT_EQ((*store_->GetRotationPolicy("example.com"))->backup_waived, kNow);
  auto life = store_->GetDomainLife("example.com");
  ASSERT_TRUE(life);
  EXPECT_EQ(life->rotation.last_set, 4);
  EXPECT_TRUE(life->rotation.emergency);
  ASSERT_EQ(life->planned.size(), 1u);
  EXPECT_EQ(life->planned[0].cka_id, (Bytes{1, 2}));

  RotationCommit made;
  made.domain = "example.com";
  made.made.emplace();
  made.made->key = test::SampleKey("example.com", "new");
  made.made->set = 4;
  ASSERT_TRUE(store_->CommitRotation(made));
  life = store_->GetDomainLife("example.com");
  EXPECT_TRUE(life->planned.empty());
  ASSERT_EQ(life->keys.size(), 1u);
  EXPECT_EQ(life->keys[0].set, 4);
}

TEST_F(StoreTest, ARotationIsChangedWholeOrNotAtAll) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  for (const char* selector : {"a", "b"}) ASSERT_TRUE(store_->InsertKey(test::SampleKey("example.com", selector)));
  RotationCommit commit;
  commit.domain = "example.com";
  for (const char* selector : {"a", "b"}) {
    auto life = *store_->GetKeyLife("example.com", selector);
    life.key.state = KeyState::kActive;
    // "b" is not in this state.
    commit.keys.push_back({life, *selector == 'a' ? KeyState::kGenerated : KeyState::kReady});
  }
  commit.events.push_back({0, "example.com", "a", "key", "GENERATED", "ACTIVE", kNow, kNow, "policy", ""});
  EXPECT_EQ(store_->CommitRotation(commit).error().reason, Reason::kStateConflict);
  EXPECT_EQ(store_->GetKey("example.com", "a")->state, KeyState::kGenerated);
  EXPECT_TRUE(store_->ListKeyEvents("", "", 0, 10)->empty());
}

TEST_F(StoreTest, APlannedStepBecomesTheOneThatIsDone) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  KeyEvent event{0, "example.com", "a", "key", "RETIRING", "REVOKED", kNow, {}, "policy", ""};
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(store_->PlanKeyEvent(event));
  EXPECT_TRUE(*store_->IsPlanned("example.com", "a", "REVOKED"));
  ASSERT_EQ(store_->ListKeyEvents("example.com", "", 0, 10)->size(), 1u);
  RotationCommit commit;
  commit.domain = "example.com";
  event.planned = event.done = kNow + std::chrono::hours(1);
  commit.events.push_back(event);
  ASSERT_TRUE(store_->CommitRotation(commit));
  EXPECT_FALSE(*store_->IsPlanned("example.com", "a", "REVOKED"));
  const auto events = store_->ListKeyEvents("example.com", "a", 0, 10);
  ASSERT_EQ(events->size(), 1u);
  EXPECT_EQ(events->front().planned, kNow);
  EXPECT_EQ(events->front().done, kNow + std::chrono::hours(1));
}

}  // namespace
}  // namespace hallmark::store
