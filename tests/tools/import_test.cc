#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_signerd.h"
#include "hallmark/admin/v1/policy.grpc.pb.h"

// What an import tells, and writes, of the policy that it needs.
namespace {

namespace api = hallmark::admin::v1;
using grpc::ServerContext;
using grpc::Status;
using testing::HasSubstr;

// Has no domains yet, and at most the keys of the test.
class FakeAdmin final : public api::AdminService::Service {
 public:
  api::ListKeysResponse keys;

 private:
  Status CreateDomain(ServerContext*, const api::CreateDomainRequest* request, api::Domain* response) override {
    response->set_name(request->name());
    return Status::OK;
  }
  Status ListDomains(ServerContext*, const api::ListDomainsRequest*, api::ListDomainsResponse*) override {
    return Status::OK;
  }
  Status ListKeys(ServerContext*, const api::ListKeysRequest*, api::ListKeysResponse* response) override {
    *response = keys;
    return Status::OK;
  }
};

// Lets nothing be sent.
class FakePolicy final : public api::PolicyService::Service {
 public:
  Status status;
  std::function<void()> when_asked = [] {};

 private:
  Status GetPolicy(ServerContext*, const api::GetPolicyRequest*, api::GetPolicyResponse* response) override {
    when_asked();
    response->mutable_policy()->add_partners()->set_name("own");
    return status;
  }
};

class ImportTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto made = Program("openssl", {"genpkey", "-algorithm", "ed25519", "-out", key_});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  hallmark::ProgramResult Import(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"import",     "pem", key_,    "--domain",          "example.com",
                                      "--selector", "old", "--dir", signerd_.directory()};
    words.insert(words.end(), more.begin(), more.end());
    return Dkimctl(words);
  }
  hallmark::ProgramResult DryRun(std::vector<std::string> more = {}) {
    more.push_back("--dry-run");
    return Import(more);
  }
  // The key of the file is there already.
  void AddKnownKey(api::KeyState state) {
    const auto der = Program("openssl", {"pkey", "-in", key_, "-pubout", "-outform", "DER"});
    api::Key& key = *admin_.keys.add_keys();
    key.set_domain("example.com");
    key.set_selector("old");
    key.set_public_key(der.out);
    key.set_state(state);
  }
  FakeAdmin admin_;
  FakePolicy policy_;
  FakeSignerd signerd_{&admin_, nullptr, {&policy_}};
  TemporaryFolder folder_;
  const std::string key_ = folder_ / "key.pem", out_ = folder_ / "policy.toml";
};

TEST_F(ImportTest, ADryRunShowsThePolicyAndWritesNone) {
  const auto run = DryRun({"--policy-out", out_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("signing_domains = [\"example.com\"]"));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(ImportTest, NoFileIsReplacedByThePolicy) {
  WriteText(out_, "mine");
  const auto run = DryRun({"--policy-out", out_});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("exists"));
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(ReadText(out_), "mine");
}

TEST_F(ImportTest, ThePolicyThatWasWrittenIsToldAndReplacesNoFile) {
  AddKnownKey(api::KEY_STATE_ACTIVE);
  auto run = DkimctlBy("umask 026; \"$@\"", {"import", "pem", key_, "--domain", "example.com", "--selector", "old",
                                             "--policy-out", out_, "--output", "json", "--dir", signerd_.directory()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("\"policy_file\": \"" + out_ + "\""));
  EXPECT_THAT(ReadText(out_), HasSubstr("signing_domains = [\"example.com\"]"));
  EXPECT_EQ(std::filesystem::status(out_).permissions(), std::filesystem::perms(0640));

  std::filesystem::remove(out_);
  policy_.when_asked = [&] { WriteText(out_, "mine"); };  // while the import goes on
  run = Import({"--policy-out", out_});
  EXPECT_EQ(run.exit_code, 1) << run.out;
  EXPECT_EQ(ReadText(out_), "mine");
}

TEST_F(ImportTest, AKeyThatIsOverIsNotCarriedOver) {
  for (const auto& [state, name] : {std::pair{api::KEY_STATE_REVOKED, "revoked"},
                                    {api::KEY_STATE_WITHDRAWN, "withdrawn"},
                                    {api::KEY_STATE_DESTROYED, "destroyed"}}) {
    admin_.keys.Clear();
    AddKnownKey(state);
    const auto run = Import({"--output", "json"});
    EXPECT_EQ(run.exit_code, 1) << name;
    EXPECT_THAT(run.out, HasSubstr(std::string("\"result\": \"not imported: this key was here, is ") + name));
    EXPECT_THAT(run.out, HasSubstr("\"good\": false"));
  }
}

TEST_F(ImportTest, WhatWasDoneIsToldWhenTheLastStepFails) {
  policy_.status = Refusal(grpc::UNAVAILABLE, "SHUTTING_DOWN", "signerd is being stopped");
  const auto run = DryRun();
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.out, HasSubstr("domain example.com: would be made"));
  EXPECT_THAT(run.out, HasSubstr("would be imported"));
  EXPECT_EQ(run.err, "dkimctl: SHUTTING_DOWN: signerd is being stopped\n");
  EXPECT_THAT(DryRun({"--output", "json"}).out, HasSubstr("\"problem\": \"SHUTTING_DOWN: signerd is being stopped\""));
}

}  // namespace
