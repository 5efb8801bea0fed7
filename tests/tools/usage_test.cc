#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "dkimctl_run.h"

namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Words = std::vector<std::string>;

const Words kCommands[] = {{"init"},
                           {"domain", "add"},
                           {"domain", "list"},
                           {"domain", "show"},
                           {"domain", "set-profile"},
                           {"profile", "list"},
                           {"profile", "show"},
                           {"profile", "set"},
                           {"key", "generate"},
                           {"key", "adopt"},
                           {"key", "list"},
                           {"key", "show"},
                           {"key", "activate"},
                           {"key", "retire"},
                           {"dns", "show"},
                           {"dns", "suggest"},
                           {"posture"},
                           {"sign"},
                           {"verify"},
                           {"apply"},
                           {"export"},
                           {"partner", "list"},
                           {"partner", "show"},
                           {"partner", "suspend"},
                           {"partner", "resume"},
                           {"partner", "revoke"},
                           {"relay", "list"},
                           {"relay", "show"},
                           {"relay", "revoke"},
                           {"ledger", "search"},
                           {"ledger", "show"},
                           {"ledger", "prove"},
                           {"ledger", "verify"},
                           {"ledger", "export"},
                           {"ledger", "checkpoint"},
                           {"ledger", "rebuild-index"},
                           {"ledger", "retention"},
                           {"ledger", "status"},
                           {"alerts", "list"},
                           {"alerts", "ack"},
                           {"explain"},
                           {"import", "pem"},
                           {"import", "opendkim"},
                           {"import", "rspamd"},
                           {"key", "revoke"},
                           {"key", "rotate"},
                           {"key", "rollback"},
                           {"key", "pause"},
                           {"key", "resume"},
                           {"key", "status"},
                           {"key", "history"},
                           {"key", "replace-missing"},
                           {"backup", "create"},
                           {"backup", "check"},
                           {"backup", "unpack"},
                           {"backup", "restore"},
                           {"factory-reset"},
                           {"key", "policy", "show"},
                           {"key", "policy", "set"},
                           {"login"},
                           {"logout"},
                           {"whoami"},
                           {"operator", "enroll"},
                           {"operator", "list"},
                           {"operator", "add"},
                           {"operator", "remove"},
                           {"operator", "reset"},
                           {"approvals", "list"},
                           {"approvals", "show"},
                           {"approvals", "approve"},
                           {"approvals", "reject"},
                           {"status"}};

// These ask no Admin API: there is no operator to be.
const std::set<Words> kOfNobody = {
    {"init"}, {"sign"}, {"verify"}, {"backup", "check"}, {"backup", "unpack"}, {"backup", "restore"}};

std::string Join(const Words& words) {
  std::string text = "dkimctl";
  for (const std::string& word : words) text += " " + word;
  return text;
}

class Help : public testing::TestWithParam<Words> {};
TEST_P(Help, HasExamplesAndCommonOptions) {
  Words words = GetParam();
  const std::string example = "\n  " + Join(words);
  words.push_back("--help");
  const auto run = Dkimctl(words);
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, HasSubstr("Examples:"));
  EXPECT_THAT(run.out, HasSubstr(example));
  EXPECT_THAT(run.out, HasSubstr("--dir DIR"));
  EXPECT_THAT(run.out, HasSubstr("--output FORMAT"));
  const bool asks = !kOfNobody.contains(GetParam());
  EXPECT_EQ(run.out.find("--as NAME") != std::string::npos, asks) << run.out;
  EXPECT_LE(LongestLine(run.out), 80u) << run.out;
}
INSTANTIATE_TEST_SUITE_P(OfEvery, Help, testing::ValuesIn(kCommands));

TEST(Help, OfGroupsHasExamples) {
  for (const Words& words :
       {Words{}, Words{"domain"}, Words{"profile"}, Words{"key"}, Words{"dns"}, Words{"partner"}, Words{"relay"},
        Words{"ledger"}, Words{"operator"}, Words{"approvals"}, Words{"alerts"}, Words{"backup"}}) {
    Words line = words;
    line.push_back("--help");
    const auto run = Dkimctl(line);
    EXPECT_EQ(run.exit_code, 0);
    EXPECT_THAT(run.out, HasSubstr("Examples:\n  " + Join(words)));
    EXPECT_LE(LongestLine(run.out), 80u) << run.out;
  }
}

TEST(Version, IsPrinted) {
  const auto run = Dkimctl({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, StartsWith("dkimctl "));
}

struct WrongCase {
  const char* name;
  Words words;
  const char* says;
};
const WrongCase kWrong[] = {
    {"NoCommand", {}, "subcommand is required"},
    {"UnknownCommand", {"frobnicate"}, "frobnicate"},
    {"GroupAlone", {"key"}, "see dkimctl key --help"},
    {"MissingDomain", {"domain", "add"}, "DOMAIN is required"},
    {"MissingSelector", {"key", "show", "example.com"}, "SELECTOR is required"},
    {"MissingFile", {"sign"}, "FILE is required"},
    {"MissingPolicy", {"apply"}, "--file is required"},
    {"MissingKey", {"backup", "check", "signer1.backup"}, "--key is required"},
    {"MissingState", {"backup", "restore", "signer1.backup", "--key", "k"}, "--state is required"},
    {"NoBox", {"factory-reset", "--yes"}, "say with --box which box it is"},
    {"LeftWhere", {"factory-reset", "--leave-keys-in"}, "--leave-keys-in"},
    {"UnpublishedAlone",
     {"import", "pem", "k", "--domain", "example.com", "--selector", "s", "--unpublished"},
     "--unpublished requires --activate"},
    {"MissingRelay", {"explain", "m.eml"}, "--relay is required"},
    {"MissingValue", {"sign", "m.eml", "--out"}, "--out"},
    {"UnknownOption", {"status", "--frobnicate"}, "--frobnicate"},
    {"UnknownFormat", {"status", "--output", "xml"}, "expected table or json"},
    {"UnknownAlgorithm", {"key", "generate", "example.com", "--algorithm", "rsa1024"}, "expected rsa2048, rsa3072"},
    {"UnknownMode", {"sign", "m.eml", "--mode", "fast"}, "expected sign, stream, large or digest"},
    {"UnknownDnsFormat", {"dns", "show", "example.com", "--format", "bind"}, "expected zone or keyfile"},
    {"UnknownCanonicalization",
     {"profile", "set", "x", "--body-canonicalization", "nowsp"},
     "expected simple or relaxed"},
    {"UnknownLineEndings", {"profile", "set", "x", "--line-endings", "keep"}, "expected normalize or refuse"},
    {"NoConcurrency", {"sign", "m.eml", "--concurrency", "0"}, "--concurrency"},
    {"EndlessConcurrency", {"sign", "m.eml", "--concurrency", "100000"}, "--concurrency"},
    {"NoChunk", {"sign", "m.eml", "--chunk", "0"}, "--chunk"},
    {"ChunkTooLarge", {"sign", "m.eml", "--chunk", "100000000"}, "--chunk"},
    {"NegativeTimeout", {"status", "--timeout", "-1"}, "--timeout"},
    {"BadCkaId", {"key", "adopt", "example.com", "s", "--cka-id", "0g"}, "--cka-id: not valid hexadecimal"},
    {"NoPair", {"key", "adopt", "example.com", "s"}, "name the pair by its URI"},
    {"TwoPairs", {"key", "adopt", "example.com", "s", "pkcs11:id=%01", "--cka-id", "01"}, "or by --cka-id"},
    {"BadUri", {"key", "adopt", "example.com", "s", "pkcs12:id=%01"}, "the URI cannot be parsed"},
    {"UriWithoutId", {"key", "adopt", "example.com", "s", "pkcs11:token=hsm;object=s"}, "has no id"},
    {"UriOfACertificate", {"key", "adopt", "example.com", "s", "pkcs11:id=%01;type=cert"}, "is none of a key pair"},
    {"UriWithAPin", {"key", "adopt", "example.com", "s", "pkcs11:id=%01?pin-value=1234"}, "has a PIN"},
    {"UriOfASlot", {"key", "adopt", "example.com", "s", "pkcs11:slot-id=1;id=%01"}, "slot numbers move"},
    {"UriWithMore", {"key", "adopt", "example.com", "s", "pkcs11:colour=red;id=%01"}, "that is not known"},
    {"BadNameserver", {"verify", "/dev/null", "--nameserver", "dns.example.com"}, "ADDRESS:PORT"},
    {"MissingDomainToJudge", {"posture"}, "DOMAIN is required"},
    {"UnknownSeverity", {"posture", "example.com", "--fail-on", "note"}, "expected error or warning"},
    {"BadNameserverToJudge", {"posture", "example.com", "--offline", "--nameserver", "x"}, "ADDRESS:PORT"},
    {"BadSelector", {"posture", "example.com", "--offline", "--selector", "a b"}, "--selector: "},
    {"BadDomainToJudge", {"posture", "a..b", "--offline"}, "a..b"},
    {"TwoSourcesOfKeys", {"verify", "m.eml", "--key-file", "k", "--nameserver", "127.0.0.1"}, "excludes"},
    {"BadListen", {"init", "--dir", "/nonexistent/x", "--signing-listen", "localhost:1"}, "expected ADDRESS:PORT"},
    {"SameListen", {"init", "--dir", "/nonexistent/x", "--signing-listen", "127.0.0.1:8462"}, "ports of their own"},
    {"NoSessions", {"init", "--dir", "/nonexistent/x", "--sessions", "0"}, "--sessions"},
    {"LongLabel", {"init", "--dir", "/nonexistent/x", "--token-label", std::string(33, 'x')}, "1 to 32 octets"},
};

class WrongUsage : public testing::TestWithParam<WrongCase> {};
TEST_P(WrongUsage, EndsWithTwoAndOneLine) {
  const auto run = Dkimctl(GetParam().words);
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, StartsWith("dkimctl: "));
  EXPECT_THAT(run.err, HasSubstr(GetParam().says));
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
}
INSTANTIATE_TEST_SUITE_P(Lines, WrongUsage, testing::ValuesIn(kWrong),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SetUp, ThatIsMissingIsNamed) {
  const auto run = Dkimctl({"status", "--dir", "/nonexistent/hallmark"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("/nonexistent/hallmark/dkimctl.toml does not exist"));
  EXPECT_THAT(run.err, HasSubstr("dkimctl init"));
}

TEST(SetUp, WithAMistakeIsRefusedWithItsLine) {
  const TemporaryFolder folder;
  WriteText(folder / "dkimctl.toml", "[admin]\nserver = 1\n");
  const auto run = Dkimctl({"--dir", folder.path().string(), "status"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("dkimctl.toml:2: admin.server"));
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
}

TEST(SetUp, IsFoundByTheEnvironment) {
  const auto run = Program(HALLMARK_BIN_DIR "/dkimctl", {"status"}, {{"HALLMARK_DIR", "/nonexistent/env"}});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("/nonexistent/env/dkimctl.toml"));
}

}  // namespace
