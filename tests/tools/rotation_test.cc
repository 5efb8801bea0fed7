#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>

#include "fake_signerd.h"
#include "hallmark/admin/v1/alerts.grpc.pb.h"
#include "hallmark/admin/v1/rotation.grpc.pb.h"

// The commands about rotation, and what they say when it does not go well.
namespace {

namespace api = hallmark::admin::v1;
using grpc::ServerContext;
using grpc::Status;
using testing::AllOf;
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

// Has the alerts 5 to 1. Its pages do not say whether another follows.
class FakeAlerts final : public api::AlertService::Service {
  Status ListAlerts(ServerContext*, const api::ListAlertsRequest* request, api::ListAlertsResponse* response) override {
    for (std::uint64_t id = request->before() == 0 ? 5 : request->before() - 1; id > 0; --id) {
      if (response->alerts_size() == request->page_size()) break;
      response->add_alerts()->set_id(id);
    }
    return Status::OK;
  }
};

void AddKey(api::Rotation* rotation, const std::string& selector, api::KeyState state) {
  api::Key* key = rotation->add_keys()->mutable_key();
  key->set_selector(selector);
  key->set_state(state);
}

// A rotation of example.com is under way for ever; that of b.example cannot be begun. calm.example has none, that of
// paused.example is paused, that of stuck.example was asked for and does not begin, and the old key of stolen.example
// may wait for a second officer.
class FakeRotation final : public api::RotationService::Service {
 public:
  std::vector<api::SetRotationPolicyRequest> set() {
    const std::lock_guard lock(mutex_);
    return set_;
  }
  std::vector<std::string> rotated() {
    const std::lock_guard lock(mutex_);
    return rotated_;
  }

 private:
  Status GetRotation(ServerContext*, const api::GetRotationRequest* request, api::Rotation* response) override {
    const std::string& domain = request->domain();
    response->set_domain(domain);
    response->mutable_policy()->set_publisher("main");
    AddKey(response, "present", api::KEY_STATE_ACTIVE);
    response->set_under_way(domain == "example.com");
    response->set_next(domain == "stuck.example" ? "begin a rotation" : "publish");
    if (domain == "stuck.example") response->set_waits_for("asked for by ann");
    response->set_paused(domain == "paused.example");
    if (response->paused()) response->set_pause_reason("the zone moves, by ann");
    response->set_compromised(domain == "stolen.example");
    if (response->compromised()) AddKey(response, "old", api::KEY_STATE_RETIRING);
    return Status::OK;
  }
  // Four steps.
  Status ListKeyEvents(ServerContext*, const api::ListKeyEventsRequest* request,
                       api::ListKeyEventsResponse* response) override {
    for (int id = request->page_token().empty() ? 4 : std::stoi(request->page_token()) - 1; id > 0; --id) {
      if (response->events_size() == request->page_size()) {
        response->set_next_page_token(std::to_string(id + 1));
        break;
      }
      response->add_events()->set_to("STEP-" + std::to_string(id));
    }
    return Status::OK;
  }
  Status RotateKeys(ServerContext*, const api::RotateKeysRequest* request, api::Rotation*) override {
    const std::lock_guard lock(mutex_);
    rotated_.push_back(request->domain() + (request->compromised() ? " compromised" : ""));
    return request->domain() == "b.example" ? Status(grpc::UNAVAILABLE, "Socket closed") : Status::OK;
  }
  Status GetRotationPolicy(ServerContext*, const api::GetRotationPolicyRequest* request,
                           api::RotationPolicy* response) override {
    response->set_domain(request->domain());
    response->set_lifetime_seconds((request->domain().empty() ? 90 : 30) * 86400);
    response->add_algorithms(api::KEY_ALGORITHM_RSA_2048);
    response->set_propagation_seconds(3600);
    response->set_retire_seconds(7 * 86400);
    response->set_revoked_seconds(30 * 86400);
    response->set_trash_seconds(30 * 86400);
    response->set_record_ttl_seconds(3600);
    response->set_selector("{date}{letter}{random}");
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
  std::mutex mutex_;  // guards what follows
  std::vector<api::SetRotationPolicyRequest> set_;
  std::vector<std::string> rotated_;
};

class RotationTest : public testing::Test {
 protected:
  hallmark::ProgramResult Run(std::vector<std::string> words) {
    words.insert(words.end(), {"--dir", signerd_.directory()});
    return Dkimctl(words);
  }
  FakeAdmin admin_;
  FakeRotation rotation_;
  FakeAlerts alerts_;
  FakeSignerd signerd_{&admin_, nullptr, {&rotation_, &alerts_}};
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

TEST_F(RotationTest, ADryRunOfAPolicySaysWhatSignerdWouldRefuse) {
  const std::tuple<const char*, const char*, const char*> wrong[] = {
      {"--retire", "1d", "retire_seconds"},
      {"--record-ttl", "8d", "record_ttl_seconds"},
      {"--algorithms", "ed25519", "RSA key is needed"},
      {"--selector", "s{date}", "selector"},
      {"--delegation", "a..b", "delegation"},
  };
  for (const auto& [option, value, says] : wrong) {
    const auto run = Run({"key", "policy", "set", "example.com", option, value, "--dry-run"});
    EXPECT_EQ(run.exit_code, 1) << option;
    EXPECT_THAT(run.err, AllOf(HasSubstr("INVALID_ARGUMENT: "), HasSubstr(says)));
    EXPECT_EQ(run.out, "");
  }
  const auto good = Run({"key", "policy", "set", "example.com", "--retire", "7d", "--dry-run"});
  EXPECT_EQ(good.exit_code, 0) << good.err;
  // It alone knows these.
  EXPECT_THAT(good.out, HasSubstr("Whether the publisher and the token are there"));
  EXPECT_LE(LongestLine(good.out), 80u) << good.out;
  EXPECT_TRUE(rotation_.set().empty());
}

TEST_F(RotationTest, ADryRunSaysWhatARotationWouldDo) {
  const auto calm = Run({"key", "rotate", "calm.example", "--dry-run"});
  EXPECT_EQ(calm.exit_code, 0) << calm.err;
  EXPECT_THAT(calm.out, AllOf(HasSubstr("would make new keys"), HasSubstr("present then retires")));
  const auto stolen = Run({"key", "rotate", "calm.example", "--compromised", "--dry-run"});
  EXPECT_THAT(stolen.out, AllOf(HasSubstr("would make new keys"), HasSubstr("present would count as known to others")));
  const auto hurried = Run({"key", "rotate", "example.com", "--compromised", "--dry-run"});
  EXPECT_EQ(hurried.exit_code, 0) << hurried.err;
  EXPECT_THAT(hurried.out, AllOf(HasSubstr("would hurry the rotation of example.com"), Not(HasSubstr("new keys ("))));
  const auto again = Run({"key", "rotate", "stolen.example", "--compromised", "--dry-run"});
  EXPECT_THAT(again.out, HasSubstr("where old wait for a second officer already, it begins nothing"));
  EXPECT_TRUE(rotation_.rotated().empty());
}

TEST_F(RotationTest, ADryRunSaysThatARotationWouldBeRefused) {
  const std::tuple<const char*, bool, const char*> refused[] = {
      {"paused.example", false, "is paused (the zone moves, by ann)"},
      {"paused.example", true, "is paused (the zone moves, by ann)"},
      {"example.com", false, "is under way"},
      {"stuck.example", false, "is under way"},
  };
  for (const auto& [domain, compromised, says] : refused) {
    std::vector<std::string> words = {"key", "rotate", domain, "--dry-run"};
    if (compromised) words.push_back("--compromised");
    const auto run = Run(words);
    EXPECT_EQ(run.exit_code, 1) << domain << run.out;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, AllOf(HasSubstr("STATE_CONFLICT: "), HasSubstr(says)));
  }
}

// It condemns the keys of the domain before any second officer is asked.
TEST_F(RotationTest, AnEmergencyIsAskedForFirst) {
  const auto alone = Run({"key", "rotate", "calm.example", "--compromised"});
  EXPECT_EQ(alone.exit_code, 1);
  EXPECT_THAT(alone.err, HasSubstr("say --now"));
  EXPECT_TRUE(rotation_.rotated().empty());
  EXPECT_EQ(Run({"key", "rotate", "calm.example", "--compromised", "--now"}).exit_code, 0);
  EXPECT_THAT(rotation_.rotated(), testing::ElementsAre("calm.example compromised"));
}

TEST_F(RotationTest, AListThatIsCutSaysHowToGoOn) {
  for (const std::vector<std::string>& list : {std::vector<std::string>{"key", "history"}, {"alerts", "list"}}) {
    const auto page = [&](std::vector<std::string> more) {
      more.insert(more.begin(), list.begin(), list.end());
      return Run(more).out;
    };
    const bool steps = list.back() == "history";
    EXPECT_THAT(page({"--most", "2"}), HasSubstr(steps ? "more with --page 3\n" : "more with --page 4\n"));
    const std::string last = page({"--most", "2", "--page", "3"});
    EXPECT_THAT(last, steps ? HasSubstr("STEP-1") : HasSubstr("1  "));
    EXPECT_THAT(last, Not(HasSubstr(steps ? "STEP-3" : "3  ")));
    EXPECT_THAT(last, Not(HasSubstr("more with")));
    EXPECT_THAT(page({}), Not(HasSubstr("more with")));
    EXPECT_THAT(page({"--most", "2", "--output", "json"}),
                HasSubstr("\"next_page_token\": \"" + std::string(steps ? "3" : "4")));
  }
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
