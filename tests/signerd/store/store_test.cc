#include "signerd/store/store.h"

#include <gtest/gtest.h>

#include <fstream>

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
  ASSERT_TRUE(store_->ChangeKeyState("example.com", "s1", KeyState::kGenerated, KeyState::kActive, kNow));
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
  ASSERT_TRUE(store_->ChangeKeyState("example.com", "b", KeyState::kGenerated, KeyState::kActive, kNow));
  ASSERT_TRUE(store_->ChangeKeyState("example.com", "c", KeyState::kGenerated, KeyState::kActive, kNow));
  ASSERT_TRUE(store_->ChangeKeyState("example.com", "c", KeyState::kActive, KeyState::kRetiring, kNow));
  const auto view = store_->BuildSnapshot(nullptr);
  ASSERT_TRUE(view);
  const auto& active = (*view)->FindDomain("example.com")->active_keys;
  ASSERT_EQ(active.size(), 1u);
  EXPECT_EQ(active.front()->selector, "b");
  EXPECT_EQ(store_->GetDomain("example.com")->active_keys, 1);
}

TEST_F(StoreTest, SnapshotsShareTheKeysThatAreTheSame) {
  ASSERT_TRUE(store_->InsertDomain({"example.com", "default", kNow}));
  for (const char* selector : {"a", "b"}) {
    ASSERT_TRUE(store_->InsertKey(test::SampleKey("example.com", selector)));
    ASSERT_TRUE(store_->ChangeKeyState("example.com", selector, KeyState::kGenerated, KeyState::kActive, kNow));
  }
  const auto first = *store_->BuildSnapshot(nullptr);
  // "b" goes and comes back, which makes it another record.
  ASSERT_TRUE(store_->ChangeKeyState("example.com", "b", KeyState::kActive, KeyState::kRetiring, kNow));
  ASSERT_TRUE(store_->ChangeKeyState("example.com", "b", KeyState::kRetiring, KeyState::kActive,
                                     kNow + std::chrono::seconds(1)));
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
  const auto changed = store_->ChangeKeyState("example.com", "s1", KeyState::kActive, KeyState::kRetiring, kNow);
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

}  // namespace
}  // namespace hallmark::store
