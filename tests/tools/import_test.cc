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

// Has no domains and no keys yet.
class EmptyAdmin final : public api::AdminService::Service {
  Status ListDomains(ServerContext*, const api::ListDomainsRequest*, api::ListDomainsResponse*) override {
    return Status::OK;
  }
  Status ListKeys(ServerContext*, const api::ListKeysRequest*, api::ListKeysResponse*) override { return Status::OK; }
};

// Lets nothing be sent.
class FakePolicy final : public api::PolicyService::Service {
 public:
  Status status;

 private:
  Status GetPolicy(ServerContext*, const api::GetPolicyRequest*, api::GetPolicyResponse* response) override {
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
  hallmark::ProgramResult DryRun(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"import",     "pem", key_,        "--domain", "example.com",
                                      "--selector", "old", "--dry-run", "--dir",    signerd_.directory()};
    words.insert(words.end(), more.begin(), more.end());
    return Dkimctl(words);
  }
  EmptyAdmin admin_;
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
