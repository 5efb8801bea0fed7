#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <regex>

#include "dkimctl_run.h"
#include "tools/dkimctl/deployment.h"

namespace {

using testing::HasSubstr;
using testing::Not;

mode_t ModeOf(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 ? facts.st_mode & 0777 : 0;
}

std::size_t EntriesIn(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

// One set-up for the tests that only look at it.
class InitTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();  // freed in TearDownTestSuite
    run_ = Dkimctl({"init", "--dir", *folder_ / "hallmark", "--sessions", "7"});
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  void SetUp() override { ASSERT_EQ(run_.exit_code, 0) << run_.err; }
  static std::string In(const std::string& name) { return *folder_ / ("hallmark/" + name); }

  static TemporaryFolder* folder_;
  static hallmark::ProgramResult run_;
};
TemporaryFolder* InitTest::folder_ = nullptr;
hallmark::ProgramResult InitTest::run_;

TEST_F(InitTest, SaysWhatItMadeAndWhatIsNext) {
  for (const char* text : {"hallmark.toml", "secrets/", "signerd --config ", "export HALLMARK_DIR=", "domain add"}) {
    EXPECT_THAT(run_.out, HasSubstr(text));
  }
  EXPECT_EQ(run_.err, "");
}

TEST_F(InitTest, LeavesNothingElse) { EXPECT_EQ(EntriesIn(folder_->path()), 1u); }

TEST_F(InitTest, KeepsSecretsToTheOwner) {
  for (const char* file :
       {"secrets/pin", "secrets/so-pin", "secrets/server-ca.key", "secrets/relay-ca.key", "secrets/admin-ca.key",
        "tls/server.key", "tls/relay1.key", "tls/operator.key", "tls/officer2.key"}) {
    EXPECT_EQ(ModeOf(In(file)), 0600u) << file;
  }
  for (const char* folder : {"", "secrets", "softhsm", "state"}) EXPECT_EQ(ModeOf(In(folder)), 0700u) << folder;
}

TEST_F(InitTest, PinsAreRandomAndNowhereElse) {
  const std::string pin = ReadText(In("secrets/pin")), so_pin = ReadText(In("secrets/so-pin"));
  EXPECT_EQ(pin.size(), 24u);
  EXPECT_EQ(so_pin.size(), 24u);
  EXPECT_NE(pin, so_pin);
  for (const std::string& text :
       {run_.out, ReadText(In("hallmark.toml")), ReadText(In("dkimctl.toml")), ReadText(In("softhsm/softhsm2.conf"))}) {
    EXPECT_THAT(text, Not(HasSubstr(pin)));
    EXPECT_THAT(text, Not(HasSubstr(so_pin)));
  }
}

TEST_F(InitTest, TokenIsThereAndTakesThePin) {
  const std::map<std::string, std::string> environment = {{"SOFTHSM2_CONF", In("softhsm/softhsm2.conf")}};
  const auto slots = Program("softhsm2-util", {"--show-slots"}, environment);
  EXPECT_EQ(slots.exit_code, 0);
  EXPECT_THAT(slots.out, HasSubstr("hallmark"));
  EXPECT_THAT(slots.out, testing::ContainsRegex("User PIN init\\. *: *yes"));
  const auto seed = Program("openssl", {"genpkey", "-algorithm", "RSA", "-out", *folder_ / "key.pem"});
  ASSERT_EQ(seed.exit_code, 0) << seed.err;
  const auto login = Program("softhsm2-util",
                             {"--import", *folder_ / "key.pem", "--token", "hallmark", "--label", "x", "--id", "01",
                              "--pin", ReadText(In("secrets/pin"))},
                             environment);
  EXPECT_EQ(login.exit_code, 0) << login.err;
  std::filesystem::remove(*folder_ / "key.pem");
}

TEST_F(InitTest, CertificatesServeTheirPurposeAndNoOther) {
  struct Row {
    const char *authority, *certificate, *purpose;
    bool good;
  };
  for (const Row& row : {Row{"server-ca", "server", "sslserver", true},
                         {"server-ca", "server", "sslclient", false},
                         {"relay-ca", "relay1", "sslclient", true},
                         {"relay-ca", "relay1", "sslserver", false},
                         {"admin-ca", "operator", "sslclient", true},
                         {"admin-ca", "officer2", "sslclient", true},
                         {"relay-ca", "operator", "sslclient", false},
                         {"admin-ca", "relay1", "sslclient", false},
                         {"server-ca", "relay1", "sslclient", false}}) {
    const auto run = Program("openssl", {"verify", "-x509_strict", "-purpose", row.purpose, "-CAfile",
                                         In(std::string("tls/") + row.authority + ".pem"),
                                         In(std::string("tls/") + row.certificate + ".pem")});
    EXPECT_EQ(run.exit_code == 0, row.good) << row.authority << " " << row.certificate << " " << row.purpose << run.err;
  }
}

TEST_F(InitTest, CertificatesNameTheirHolders) {
  const auto names = [&](const char* name) {
    return Program("openssl",
                   {"x509", "-noout", "-ext", "subjectAltName", "-in", In(std::string("tls/") + name + ".pem")})
        .out;
  };
  EXPECT_THAT(names("server"), HasSubstr("DNS:localhost, IP Address:127.0.0.1"));
  EXPECT_THAT(names("relay1"), HasSubstr("DNS:relay1.localdomain"));
  EXPECT_THAT(names("operator"), HasSubstr("URI:hallmark:operator:admin"));
  EXPECT_THAT(names("officer2"), HasSubstr("URI:hallmark:operator:officer2"));
}

TEST_F(InitTest, KeysBelongToTheirCertificates) {
  for (const std::string name : {"server", "relay1", "operator", "officer2"}) {
    const auto certified = Program("openssl", {"x509", "-noout", "-pubkey", "-in", In("tls/" + name + ".pem")});
    const auto own = Program("openssl", {"pkey", "-pubout", "-in", In("tls/" + name + ".key")});
    EXPECT_EQ(certified.out, own.out) << name;
    EXPECT_THAT(Program("openssl", {"pkey", "-noout", "-text", "-in", In("tls/" + name + ".key")}).out,
                HasSubstr("P-256"));
  }
}

TEST_F(InitTest, ConfigurationNamesWhatWasMade) {
  const std::string daemon = ReadText(In("hallmark.toml"));
  EXPECT_THAT(daemon, HasSubstr("sessions = 7"));
  EXPECT_THAT(daemon, HasSubstr("pin-source=file:" + In("secrets/pin")));
  EXPECT_THAT(daemon, HasSubstr("initial_policy = \"policy.toml\""));
  EXPECT_THAT(ReadText(In("policy.toml")), HasSubstr("partners = [\"own\"]"));
  EXPECT_THAT(ReadText(In("softhsm/softhsm2.conf")), HasSubstr("directories.tokendir = " + In("softhsm/tokens")));
}

TEST_F(InitTest, RefusesToOverwrite) {
  const std::string before = ReadText(In("secrets/pin"));
  const auto run = Dkimctl({"init", "--dir", *folder_ / "hallmark"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("holds a set-up already"));
  EXPECT_EQ(ReadText(In("secrets/pin")), before);
}

// What is copied from an example, or typed after a mistake was told, reaches a signerd as it comes.
TEST(Init, RelaysAreToldTheDefaultPort) {
  const std::string listen = hallmark::ctl::DeploymentPlan().signing_listen;
  const std::string port = listen.substr(listen.rfind(':') + 1);
  const std::filesystem::path root = std::filesystem::path(HALLMARK_TESTS_DIR).parent_path();
  const std::regex address("(?:127\\.0\\.0\\.1|example\\.com):([0-9]+)");
  for (const char* file :
       {"tools/packaging/dkim-sign.toml", "tools/relay-client/endpoints.cc", "tools/relay-client/settings_file.cc",
        "tools/relay-client/examples/cpp/sign_files.cc", "tools/relay-client/examples/haraka/plugins/hallmark.js",
        "tools/relay-client/examples/node/sign.js", "tools/relay-client/examples/python/sign.py"}) {
    const std::string text = ReadText(root / file);
    std::sregex_iterator told(text.begin(), text.end(), address);
    EXPECT_NE(told, std::sregex_iterator()) << file << " names no server";
    for (; told != std::sregex_iterator(); ++told) EXPECT_EQ((*told)[1], port) << file;
  }
}

TEST(Init, RefusesAFolderWithAnythingInIt) {
  const TemporaryFolder folder;
  WriteText(folder / "mine", "x");
  const auto run = Dkimctl({"init", "--dir", folder.path().string()});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("is not empty"));
  EXPECT_EQ(EntriesIn(folder.path()), 1u);
}

TEST(Init, TakesAnEmptyFolder) {
  const TemporaryFolder folder;
  const auto run = Dkimctl({"init", "--dir", folder.path().string() + "/"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "hallmark.toml"));
}

TEST(Init, LeavesNothingAfterAFailure) {
  const TemporaryFolder folder;
  WriteText(folder / "module.so", "no module at all");
  const auto run = Dkimctl({"init", "--dir", folder / "new", "--module", folder / "module.so"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("cannot initialise the token"));
  EXPECT_EQ(EntriesIn(folder.path()), 1u);
}

// The module is a pipe, at which the making of the token waits until the signal is sent.
TEST(Init, LeavesNothingWhenASignalEndsIt) {
  const TemporaryFolder folder;
  const auto run = DkimctlBy("set -e; cd '" + folder.path().string() +
                                 "'; mkfifo module.so; \"$@\" & pid=$!\n"
                                 "until [ -e new.new.*/secrets/so-pin ]; do sleep 0.05; done\n"
                                 "kill -TERM $pid; : > module.so; wait $pid",
                             {"init", "--dir", folder / "new", "--module", folder / "module.so"});
  EXPECT_EQ(run.exit_code, 128 + SIGTERM) << run.err;
  EXPECT_EQ(EntriesIn(folder.path()), 1u);
}

TEST(Init, SaysWhenTheModuleIsMissing) {
  const TemporaryFolder folder;
  const auto run = Dkimctl({"init", "--dir", folder / "new", "--module", "/nonexistent/module.so"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("/nonexistent/module.so"));
}

// What signerd would not start with.
TEST(Init, MakesNothingThatSignerdRefuses) {
  const TemporaryFolder folder;
  const auto many = Dkimctl({"init", "--dir", folder / "new", "--sessions", "257"});
  EXPECT_EQ(many.exit_code, 2) << many.out;
  WriteText(folder / "module.so", "");
  const auto relative = DkimctlBy("cd '" + folder.path().string() + "' && \"$@\"",
                                  {"init", "--dir", folder / "new", "--module", "module.so", "--dry-run"});
  EXPECT_EQ(relative.exit_code, 0) << relative.err;
  EXPECT_THAT(relative.out, HasSubstr(folder / "module.so"));
}

TEST(Init, RefusesANameThatSoftHsmCannotRead) {
  const TemporaryFolder folder;
  const auto run = Dkimctl({"init", "--dir", folder / "a#b"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("no '#'"));
}

TEST(Init, DryRunMakesNothing) {
  const TemporaryFolder folder;
  const auto run = Dkimctl({"init", "--dir", folder / "new", "--dry-run"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Would make"));
  EXPECT_EQ(EntriesIn(folder.path()), 0u);
}

TEST(Init, TakesAwkwardNamesAndFreePorts) {
  const TemporaryFolder folder;
  const std::string directory = folder / "a \"b\" \u00fc%?&;";
  const auto run = Dkimctl({"init", "--dir", directory, "--signing-listen", "127.0.0.1:0", "--admin-listen",
                            "127.0.0.1:0", "--token-label", "two words;", "--output", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string daemon = ReadText(directory + "/hallmark.toml");
  EXPECT_THAT(daemon, HasSubstr("pkcs11:token=two%20words%3B?pin-source=file:"));
  EXPECT_THAT(daemon, HasSubstr("/a%20%22b%22%20%C3%BC%25%3F%26%3B/secrets/pin\""));
  EXPECT_THAT(daemon, Not(HasSubstr("listen = \"127.0.0.1:0\"")));
}

}  // namespace
