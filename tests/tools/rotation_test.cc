#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "fake_signerd.h"
#include "hallmark/admin/v1/rotation.grpc.pb.h"

// The commands about rotation, and what they say when it does not go well.
namespace {

namespace api = hallmark::admin::v1;
using grpc::ServerContext;
using grpc::Status;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

// The keys of three domains are missing.
class FakeAdmin final : public api::AdminService::Service {
  Status GetStatus(ServerContext*, const api::GetStatusRequest*, api::GetStatusResponse* response) override {
    for (const char* name : {"keys", "key/a.example/s", "key/b.example/s", "key/c.example/s"}) {
      auto* reading = response->add_health();
      reading->set_name(name);
      reading->set_level(api::HEALTH_LEVEL_FAILED);
      reading->set_message("is not in the token");
    }
    return Status::OK;
  }
};

// A rotation of example.com is under way for ever; that of b.example cannot be begun.
class FakeRotation final : public api::RotationService::Service {
 public:
  std::vector<api::SetRotationPolicyRequest> set() {
    const std::lock_guard lock(mutex_);
    return set_;
  }

 private:
  Status GetRotation(ServerContext*, const api::GetRotationRequest* request, api::Rotation* response) override {
    response->set_domain(request->domain());
    response->set_under_way(true);
    response->set_next("publish");
    return Status::OK;
  }
  Status RotateKeys(ServerContext*, const api::RotateKeysRequest* request, api::Rotation*) override {
    return request->domain() == "b.example" ? Status(grpc::UNAVAILABLE, "Socket closed") : Status::OK;
  }
  Status GetRotationPolicy(ServerContext*, const api::GetRotationPolicyRequest* request,
                           api::RotationPolicy* response) override {
    response->set_domain(request->domain());
    response->set_lifetime_seconds((request->domain().empty() ? 90 : 30) * 86400);
    response->set_token("hsm-2");
    response->set_backup_waiver("made again in an hour");
    response->set_etag("of " + request->domain());
    return Status::OK;
  }
  Status SetRotationPolicy(ServerContext*, const api::SetRotationPolicyRequest* request,
                           api::RotationPolicy* response) override {
    const std::lock_guard lock(mutex_);
    set_.push_back(*request);
    *response = request->policy();
    return Status::OK;
  }
  std::mutex mutex_;  // guards set_
  std::vector<api::SetRotationPolicyRequest> set_;
};

class RotationTest : public testing::Test {
 protected:
  hallmark::ProgramResult Run(std::vector<std::string> words) {
    words.insert(words.end(), {"--dir", signerd_.directory()});
    return Dkimctl(words);
  }
  FakeAdmin admin_;
  FakeRotation rotation_;
  FakeSignerd signerd_{&admin_, nullptr, {&rotation_}};
};

TEST_F(RotationTest, InheritShowsWhatWillBeInForce) {
  const auto run = Run({"key", "policy", "set", "example.com", "--inherit", "--dry-run"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, ContainsRegex("of: +example.com"));
  EXPECT_THAT(run.out, ContainsRegex("lifetime: +90d"));
  EXPECT_TRUE(rotation_.set().empty());
}

TEST_F(RotationTest, InheritStandsAlone) {
  EXPECT_EQ(Run({"key", "policy", "set", "example.com", "--inherit", "--lifetime", "60d"}).exit_code, 2);
  EXPECT_EQ(Run({"key", "policy", "set", "example.com", "--inherit", "--on-demand"}).exit_code, 2);
  EXPECT_EQ(Run({"key", "policy", "set", "--inherit"}).exit_code, 2);
  EXPECT_TRUE(rotation_.set().empty());
  EXPECT_EQ(Run({"key", "policy", "set", "example.com", "--inherit"}).exit_code, 0);
  ASSERT_EQ(rotation_.set().size(), 1u);
  EXPECT_TRUE(rotation_.set()[0].inherit());
  EXPECT_EQ(rotation_.set()[0].policy().domain(), "example.com");
  // What is taken away is the domain's own policy, so that is what must not have changed.
  EXPECT_EQ(rotation_.set()[0].policy().etag(), "of example.com");
}

// It would give the domain a policy of its own, of what holds for all others now.
TEST_F(RotationTest, APolicyIsSetOnlyWhereSomethingIsGiven) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"example.com"}, {}, {"example.com", "--dry-run"}}) {
    std::vector<std::string> line = {"key", "policy", "set"};
    line.insert(line.end(), words.begin(), words.end());
    const auto run = Run(line);
    EXPECT_EQ(run.exit_code, 2);
    EXPECT_THAT(run.err, HasSubstr("say what is to be changed"));
  }
  EXPECT_TRUE(rotation_.set().empty());
}

TEST_F(RotationTest, NoneTakesWaiverAndTokenBack) {
  EXPECT_EQ(Run({"key", "policy", "set", "example.com", "--waive-backup", "none", "--token", "none"}).exit_code, 0);
  ASSERT_EQ(rotation_.set().size(), 1u);
  EXPECT_EQ(rotation_.set()[0].policy().backup_waiver(), "");
  EXPECT_EQ(rotation_.set()[0].policy().token(), "");
  EXPECT_EQ(rotation_.set()[0].policy().lifetime_seconds(), 30 * 86400);
}

TEST_F(RotationTest, ReplaceMissingTellsWhatItBeganBeforeItFailed) {
  const auto run = Run({"key", "replace-missing", "--yes"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.out, ContainsRegex("a\\.example +begun"));
  EXPECT_THAT(run.out, ContainsRegex("b\\.example +cannot reach signerd"));
  EXPECT_THAT(run.out, ContainsRegex("c\\.example +not begun"));
  EXPECT_THAT(run.err, HasSubstr("Socket closed"));
}

TEST_F(RotationTest, ReplaceMissingSaysThatItIsADryRun) {
  const auto run = Run({"key", "replace-missing", "--dry-run", "--output", "json"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("\"dry_run\": true"));
  EXPECT_THAT(run.out, HasSubstr("\"summary\": \"is not in the token\""));
  EXPECT_THAT(run.out, ContainsRegex("\"domain\": \"a.example\",\n *\"selector\": \"s\",\n"
                                     " *\"reason\": \"is not in the token\""));
  EXPECT_THAT(Run({"key", "replace-missing", "--yes", "--output", "json"}).out, HasSubstr("\"dry_run\": false"));
}

// head takes the first line while the rotation goes on, and dkimctl ends with it.
TEST_F(RotationTest, WatchShowsThroughAPipeAndEndsWithIt) {
  const auto run =
      DkimctlBy("\"$@\" | head -n 1", {"key", "status", "example.com", "--watch", "--dir", signerd_.directory()});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, HasSubstr("example.com"));
  EXPECT_THAT(run.err, HasSubstr("standard output"));
}

}  // namespace
