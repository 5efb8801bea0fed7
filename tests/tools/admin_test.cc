#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

#include "fake_signerd.h"
#include "hallmark/admin/v1/certificates.grpc.pb.h"

namespace {

using namespace hallmark::admin::v1;
using grpc::ServerContext;
using grpc::Status;
using testing::HasSubstr;

const std::string kLongName =
    std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + ".example.com";

Key MakeKey(const std::string& domain, const std::string& selector, KeyState state) {
  Key key;
  key.set_domain(domain);
  key.set_selector(selector);
  key.set_algorithm(selector.starts_with('e') ? KEY_ALGORITHM_ED25519 : KEY_ALGORITHM_RSA_2048);
  key.set_state(state);
  key.set_token("softhsm");
  key.set_cka_id("\x01\x02");
  key.mutable_state_time()->set_seconds(1769860800);
  return key;
}

// Knows the domain example.com with the active key "only", and pages lists by one. pair.example has "e1" beside it, and
// lone.example "e1" alone. At the selectors of kOfEveryState there is a key in that state.
const std::map<std::string, KeyState> kOfEveryState = {
    {"only", KEY_STATE_ACTIVE},          {"rgenerated", KEY_STATE_GENERATED}, {"rpublished", KEY_STATE_PUBLISHED},
    {"rready", KEY_STATE_READY},         {"rretiring", KEY_STATE_RETIRING},   {"rrevoked", KEY_STATE_REVOKED},
    {"rwithdrawn", KEY_STATE_WITHDRAWN}, {"rdestroyed", KEY_STATE_DESTROYED}};
class FakeAdmin final : public AdminService::Service {
 public:
  std::vector<std::string> changes() {
    const std::lock_guard lock(mutex_);
    return changes_;
  }
  Status next_status;

 private:
  Status CreateDomain(ServerContext*, const CreateDomainRequest* request, Domain* response) override {
    Add("create " + request->name());
    if (!next_status.ok()) return next_status;
    response->set_name(request->name());
    response->set_profile("default");
    return Status::OK;
  }
  Status GetDomain(ServerContext*, const GetDomainRequest* request, Domain* response) override {
    if (request->name() != "example.com")
      return Refusal(grpc::NOT_FOUND, "NOT_FOUND", "there is no domain " + request->name());
    response->set_name(request->name());
    return Status::OK;
  }
  Status ListDomains(ServerContext*, const ListDomainsRequest* request, ListDomainsResponse* response) override {
    const bool first = request->page_token().empty();
    response->add_domains()->set_name(first ? "example.com" : kLongName);
    if (first) response->set_next_page_token("more");
    return Status::OK;
  }
  Status GetKey(ServerContext*, const GetKeyRequest* request, Key* response) override {
    const auto found = kOfEveryState.find(request->selector());
    if (found == kOfEveryState.end()) return Refusal(grpc::NOT_FOUND, "NOT_FOUND", "there is no such key");
    *response = MakeKey(request->domain(), found->first, found->second);
    return Status::OK;
  }
  Status ListKeys(ServerContext*, const ListKeysRequest* request, ListKeysResponse* response) override {
    if (request->domain() != "lone.example") *response->add_keys() = MakeKey("example.com", "only", KEY_STATE_ACTIVE);
    if (request->domain() == "pair.example" || request->domain() == "lone.example") {
      *response->add_keys() = MakeKey(request->domain(), "e1", KEY_STATE_ACTIVE);
    }
    if (request->domain().empty()) *response->add_keys() = MakeKey(kLongName, std::string(63, 's'), KEY_STATE_RETIRING);
    return Status::OK;
  }
  Status GenerateKey(ServerContext*, const GenerateKeyRequest* request, Key* response) override {
    Add("generate " + request->domain());
    *response = MakeKey(request->domain(), "r1", KEY_STATE_GENERATED);
    return Status::OK;
  }
  Status ActivateKey(ServerContext*, const ActivateKeyRequest* request, Key* response) override {
    Add("activate " + request->selector());
    *response = MakeKey(request->domain(), request->selector(), KEY_STATE_ACTIVE);
    return Status::OK;
  }
  Status RetireKey(ServerContext*, const RetireKeyRequest* request, Key* response) override {
    Add("retire " + request->selector() + (request->allow_last() ? " last" : ""));
    *response = MakeKey(request->domain(), request->selector(), KEY_STATE_RETIRING);
    return Status::OK;
  }
  Status GetSigningProfile(ServerContext*, const GetSigningProfileRequest* request, SigningProfile* response) override {
    if (request->name() != "known") return Refusal(grpc::NOT_FOUND, "NOT_FOUND", "there is no such profile");
    response->set_name("known");
    response->set_auid("@example.com");
    response->add_signed_fields("From");
    return Status::OK;
  }
  Status CreateSigningProfile(ServerContext*, const CreateSigningProfileRequest* request,
                              SigningProfile* response) override {
    Add("create profile " + request->profile().ShortDebugString());
    *response = request->profile();
    return Status::OK;
  }
  Status UpdateSigningProfile(ServerContext*, const UpdateSigningProfileRequest* request,
                              SigningProfile* response) override {
    Add("update profile " + request->profile().ShortDebugString());
    *response = request->profile();
    return Status::OK;
  }
  Status ListSigningProfiles(ServerContext*, const ListSigningProfilesRequest*,
                             ListSigningProfilesResponse* response) override {
    response->add_profiles()->set_name(std::string(63, 'p'));
    return Status::OK;
  }
  Status GetDnsRecords(ServerContext*, const GetDnsRecordsRequest* request, GetDnsRecordsResponse* response) override {
    DnsRecord* record = response->add_records();
    record->set_name("r1._domainkey." + request->domain());
    record->set_type("TXT");
    record->set_value("v=DKIM1; p=AA==");
    record->set_zone_file_line("r1._domainkey." + request->domain() + ". IN TXT \"v=DKIM1; p=AA==\"");
    return Status::OK;
  }
  Status GetStatus(ServerContext*, const GetStatusRequest*, GetStatusResponse* response) override {
    Token* token = response->add_tokens();
    token->set_name("softhsm");
    token->set_state(TOKEN_STATE_PIN_REJECTED);
    token->set_message(
        "the PIN in secrets/pin was refused and is not tried again until that file changes, whatever happens");
    token->set_token_code(0xa0);
    token->set_manufacturer("SoftHSM project");
    token->set_model("SoftHSM v2");
    token->set_label(std::string(32, 'l'));
    token->set_serial("0123456789abcdef");
    Relay* relay = response->add_relays();
    relay->set_name("relay1");
    relay->set_identity("dns:" + kLongName);
    for (int i = 0; i < 20; ++i) relay->add_partners("partner" + std::to_string(i));
    return Status::OK;
  }

  void Add(const std::string& change) {
    const std::lock_guard lock(mutex_);
    changes_.push_back(change);
  }
  std::mutex mutex_;  // guards changes_
  std::vector<std::string> changes_;
};

class AdminTest : public testing::Test {
 protected:
  hallmark::ProgramResult Run(std::vector<std::string> words) {
    words.insert(words.end(), {"--dir", signerd_.directory()});
    return Dkimctl(words);
  }
  FakeAdmin admin_;
  FakeSignerd signerd_{&admin_, nullptr};
};

TEST_F(AdminTest, TablesFitEightyColumns) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"domain", "list"},
                                                {"domain", "show", "example.com"},
                                                {"key", "list"},
                                                {"key", "show", "example.com", "only"},
                                                {"profile", "list"},
                                                {"profile", "show", "known"},
                                                {"status"}}) {
    const auto run = Run(words);
    EXPECT_EQ(run.exit_code, 0) << words[0] << run.err;
    EXPECT_LE(LongestLine(run.out), 80u) << run.out;
  }
}

TEST_F(AdminTest, ListsEveryPage) {
  const auto run = Run({"domain", "list", "--output", "json"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, HasSubstr("\"example.com\""));
  EXPECT_THAT(run.out, HasSubstr("\"" + kLongName + "\""));
}

TEST_F(AdminTest, RefusalIsOneLineWithItsReason) {
  admin_.next_status = Refusal(grpc::ALREADY_EXISTS, "ALREADY_EXISTS", "the domain exists\nalready");
  const auto run = Run({"domain", "add", "example.com"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.err, "dkimctl: ALREADY_EXISTS: the domain exists already\n");
  EXPECT_EQ(run.out, "");
}

TEST_F(AdminTest, UnavailableEndsWithThree) {
  admin_.next_status = Refusal(grpc::UNAVAILABLE, "TOKEN_DOWN", "the token is down");
  const auto run = Run({"domain", "add", "example.com"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_EQ(run.err, "dkimctl: TOKEN_DOWN: the token is down\n");
}

TEST_F(AdminTest, UnimplementedIsExplained) {
  const auto run = Run({"key", "adopt", "example.com", "s", "--cka-id", "01"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("does not know this call"));
}

TEST_F(AdminTest, DryRunsChangeNothing) {
  EXPECT_EQ(Run({"domain", "add", "new.example", "--dry-run"}).exit_code, 0);
  EXPECT_EQ(Run({"domain", "add", "example.com", "--dry-run"}).exit_code, 1);
  EXPECT_EQ(Run({"key", "generate", "example.com", "--dry-run"}).exit_code, 0);
  EXPECT_THAT(Run({"key", "generate", "example.com", "--dry-run"}).out, testing::Not(HasSubstr("sign example.com")));
  EXPECT_THAT(Run({"key", "generate", "example.com", "--activate", "--dry-run"}).out,
              HasSubstr("sign example.com with it at once"));
  EXPECT_EQ(Run({"key", "generate", "example.com", "--selector", "only", "--dry-run"}).exit_code, 1);
  EXPECT_EQ(Run({"key", "activate", "example.com", "rready", "--dry-run"}).exit_code, 0);
  EXPECT_EQ(Run({"key", "activate", "example.com", "none", "--dry-run"}).exit_code, 1);
  EXPECT_THAT(Run({"key", "retire", "example.com", "only", "--dry-run"}).out, HasSubstr("last active key"));
  EXPECT_EQ(Run({"profile", "set", "new", "--auid", "@example.com", "--dry-run"}).exit_code, 0);
  const auto built_in = Run({"profile", "set", "default", "--no-timestamp", "--dry-run"});
  EXPECT_EQ(built_in.exit_code, 1);
  EXPECT_THAT(built_in.err, HasSubstr("the profile default is built in and cannot be changed"));
  EXPECT_TRUE(admin_.changes().empty());
}

// As signerd would, by what the transitions of a key are.
TEST_F(AdminTest, DryRunsRefuseWhatTheStateOfTheKeyDoesNotAllow) {
  const std::map<std::string, std::set<std::string>> allowed = {
      {"activate", {"rgenerated", "rpublished", "rready", "rretiring"}},
      {"retire", {"only"}},
      {"revoke", {"rretiring", "rgenerated"}}};  // the latter is given up
  for (const auto& [act, selectors] : allowed) {
    for (const auto& [selector, state] : kOfEveryState) {
      const auto run = Run({"key", act, "example.com", selector, "--dry-run"});
      if (selectors.contains(selector)) {
        EXPECT_EQ(run.exit_code, 0) << act << " " << selector << run.err;
        EXPECT_THAT(run.out, HasSubstr("would "));
      } else {
        EXPECT_EQ(run.exit_code, 1) << act << " " << selector << run.out;
        EXPECT_THAT(run.err, HasSubstr("STATE_CONFLICT: " + selector + "._domainkey.example.com is "));
      }
    }
  }
  EXPECT_TRUE(admin_.changes().empty());
}

TEST_F(AdminTest, DryRunsLookForTheTokenAndAtTheProfile) {
  EXPECT_EQ(Run({"key", "generate", "example.com", "--token", "softhsm", "--dry-run"}).exit_code, 0);
  const auto unknown = Run({"key", "generate", "example.com", "--token", "nosuch", "--dry-run"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("NOT_FOUND: there is no token nosuch"));
  // Its i= is of example.com.
  EXPECT_EQ(Run({"domain", "add", "Example.COM", "--profile", "known", "--dry-run"}).exit_code, 0);
  const auto of_another = Run({"domain", "add", "new.example", "--profile", "known", "--dry-run"});
  EXPECT_EQ(of_another.exit_code, 1);
  EXPECT_THAT(of_another.err, HasSubstr("INVALID_ARGUMENT: "));
  EXPECT_TRUE(admin_.changes().empty());
}

TEST_F(AdminTest, GeneratesAndActivatesInOneGo) {
  const auto run = Run({"key", "generate", "example.com", "--activate"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(admin_.changes(), testing::ElementsAre("generate example.com", "activate r1"));
}

TEST_F(AdminTest, TheLastKeyGoesOnlyWithYes) {
  const auto refused = Run({"key", "retire", "example.com", "only"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("--yes"));
  EXPECT_TRUE(admin_.changes().empty());
  EXPECT_EQ(Run({"key", "retire", "example.com", "only", "--yes"}).exit_code, 0);
  EXPECT_THAT(admin_.changes(), testing::ElementsAre("retire only last"));
}

TEST_F(AdminTest, TheLastRsaKeyGoesOnlyWithYes) {
  const auto refused = Run({"key", "retire", "pair.example", "only"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, testing::AllOf(HasSubstr("last active RSA key"), HasSubstr("--yes")));
  EXPECT_THAT(Run({"key", "retire", "pair.example", "only", "--dry-run"}).out, HasSubstr("last active RSA key"));
  EXPECT_TRUE(admin_.changes().empty());
  EXPECT_EQ(Run({"key", "retire", "pair.example", "only", "--yes"}).exit_code, 0);
  EXPECT_THAT(admin_.changes(), testing::ElementsAre("retire only last"));
}

TEST_F(AdminTest, Ed25519AloneIsWarnedOf) {
  const auto alone = Run({"key", "activate", "lone.example", "e1", "--output", "json"});
  EXPECT_EQ(alone.exit_code, 0);
  EXPECT_THAT(alone.err, HasSubstr("WARNING: lone.example is signed with Ed25519 alone"));
  EXPECT_THAT(alone.out, testing::Not(HasSubstr("WARNING")));
  for (const char* selector : {"e1", "only"}) {
    const auto paired = Run({"key", "activate", "pair.example", selector});
    EXPECT_EQ(paired.exit_code, 0);
    EXPECT_EQ(paired.err, "") << selector;
  }
}

TEST_F(AdminTest, ProfileKeepsWhatIsNotNamed) {
  EXPECT_EQ(
      Run({"profile", "set", "known", "--query-method", "--signed-fields", "From,Subject", "--no-timestamp"}).exit_code,
      0);
  EXPECT_EQ(Run({"profile", "set", "known", "--signed-fields", "default", "--auid", "none", "--line-endings", "refuse"})
                .exit_code,
            0);
  EXPECT_EQ(Run({"profile", "set", "new", "--body-canonicalization", "simple", "--expires-after", "86400"}).exit_code,
            0);
  EXPECT_THAT(admin_.changes(),
              testing::ElementsAre(
                  "update profile name: \"known\" signed_fields: \"From\" signed_fields: \"Subject\" auid: "
                  "\"@example.com\" omit_timestamp: true query_method: true",
                  "update profile name: \"known\" line_endings: LINE_ENDINGS_REFUSE",
                  "create profile name: \"new\" body_canonicalization: \"simple\" expires_after_seconds: 86400"));
}

TEST_F(AdminTest, DnsRecordsInEveryForm) {
  EXPECT_EQ(Run({"dns", "show", "example.com"}).out, "r1._domainkey.example.com. IN TXT \"v=DKIM1; p=AA==\"\n");
  EXPECT_EQ(Run({"dns", "show", "example.com", "--format", "keyfile"}).out,
            "r1._domainkey.example.com TXT v=DKIM1; p=AA==\n");
  EXPECT_THAT(Run({"dns", "show", "example.com", "--output", "json"}).out, HasSubstr("\"value\": \"v=DKIM1; p=AA==\""));
}

// Knows its certificates, or not.
class FakeCertificates final : public CertificateService::Service {
 public:
  Status status;

 private:
  Status ListCertificates(ServerContext*, const ListCertificatesRequest*, ListCertificatesResponse*) override {
    return status;
  }
};

TEST(Admin, AStatusWithoutItsCertificatesIsNotAllThereIs) {
  FakeAdmin admin;
  FakeCertificates certificates;
  const FakeSignerd signerd(&admin, nullptr, {&certificates});
  EXPECT_EQ(Dkimctl({"status", "--dir", signerd.directory()}).exit_code, 0);
  certificates.status = Refusal(grpc::INTERNAL, "STORAGE_FAILED", "the disk is full");
  const auto run = Dkimctl({"status", "--dir", signerd.directory()});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("relay1"));
  EXPECT_EQ(run.err, "dkimctl: the certificates are not known: STORAGE_FAILED: the disk is full\n");
  // As an earlier version answers.
  certificates.status = Status(grpc::UNIMPLEMENTED, "");
  EXPECT_EQ(Dkimctl({"status", "--dir", signerd.directory()}).exit_code, 0);
}

TEST(Admin, UnreachableEndsWithThree) {
  std::string directory;
  FakeAdmin admin;
  const TemporaryFolder copy;
  {
    const FakeSignerd signerd(&admin, nullptr);
    std::filesystem::copy(signerd.directory(), copy.path(), std::filesystem::copy_options::recursive);
  }
  const auto run = Dkimctl({"status", "--dir", copy.path().string()});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.err, HasSubstr("cannot reach signerd at 127.0.0.1:"));
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
}

TEST(Admin, AServerOfAnotherAuthorityIsNotTrusted) {
  FakeAdmin admin;
  const FakeSignerd one(&admin, nullptr), other(&admin, nullptr);
  std::filesystem::copy(other.directory() + "/ca.pem", one.directory() + "/ca.pem",
                        std::filesystem::copy_options::overwrite_existing);
  const auto run = Dkimctl({"domain", "add", "example.com", "--dir", one.directory()});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_TRUE(admin.changes().empty());
}

}  // namespace
