#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/provision/configuration.h"
#include "firmware/provision/names.h"

namespace hallmark::provision {
namespace {

using testing::HasSubstr;

const std::string kBox = R"(format = 1
host_name = "signer1.example.com"
certificate_names = ["DNS:signer1.example.com", "IP:192.0.2.10"]
files = ["hallmark.toml", "policy.toml", "tls/ca.pem"]
)";
const std::map<std::string, std::string> kFiles = {
    {"hallmark.toml", "[signing]\n"}, {"policy.toml", ""}, {"tls/ca.pem", "-----BEGIN CERTIFICATE-----\n"}};

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string WhyNot(const Result<Configuration>& result) { return result ? "it was taken" : result.error().message; }

TEST(ProvisionConfiguration, ReadsWhatWasPacked) {
  const auto packed = Pack(kBox, kFiles);
  ASSERT_TRUE(packed) << packed.error().message;
  const auto configuration = ParsePacked(*packed, "box.toml");
  ASSERT_TRUE(configuration) << configuration.error().message;
  EXPECT_EQ(configuration->files, kFiles);
  EXPECT_EQ(configuration->host_name, "signer1.example.com");
  EXPECT_EQ(configuration->ip_addresses, std::vector<std::string>{"192.0.2.10"});
  EXPECT_EQ(configuration->revision, 1);
  EXPECT_EQ(NetworkFile(configuration->network), "") << "DHCP, as the image does by itself";
}

TEST(ProvisionConfiguration, AnyTextComesBackTheSame) {
  for (const char* text :
       {"", "\n", "\"", "\"\"", "\"\"\"", "\"\"\"\"\"\"\"", "a\"\"\"b\"\"\"", "\\", "\\\"\\\"\\\"", "a\r\nb\r", "\ttab",
        "'''", "\xc3\xa4\xe2\x82\xac", "# no comment\n[file]\n", "ends with \"", "ends with \\"}) {
    std::map<std::string, std::string> files = kFiles;
    files["policy.toml"] = text;
    const auto packed = Pack(kBox, files);
    ASSERT_TRUE(packed) << text;
    const auto configuration = ParsePacked(*packed, "box.toml");
    ASSERT_TRUE(configuration) << text << ": " << configuration.error().message;
    EXPECT_EQ(configuration->files, files) << text;
  }
}

TEST(ProvisionConfiguration, NothingIsInThePlaceOfWhatTheBoxMakes) {
  for (const char* name : {"tls", "tls/server.pem", "tls/server.key", "tls/server.pem/more", "softhsm2.conf",
                           "softhsm2.conf/more", "box", "box/more", "pin.cred", "pin.cred/more"}) {
    std::map<std::string, std::string> files = {{"hallmark.toml", "[signing]\n"}, {"policy.toml", ""}, {name, "mine"}};
    const auto packed = Pack(Replaced(kBox, "tls/ca.pem", name), files);
    ASSERT_TRUE(packed) << name;
    EXPECT_THAT(WhyNot(ParsePacked(*packed, "box.toml")), HasSubstr("found \"" + std::string(name) + "\"")) << name;
  }
  for (const char* name : {"tls/ca.pem", "tls.d", "boxes", "softhsm2.conf.d/more", "module", "credits"}) {
    EXPECT_FALSE(IsOwnFile(name)) << name;
  }
}

TEST(ProvisionConfiguration, WhatIsNoTextIsNotPacked) {
  for (const std::string& content :
       {std::string("a\0b", 3), std::string("\xff"), std::string("\x1b[2J"), std::string("\x7f"),
        std::string("-----BEGIN PRIVATE KEY-----\n"), std::string("-----BEGIN EC PRIVATE KEY-----\n")}) {
    EXPECT_FALSE(Pack(kBox, {{"policy.toml", content}})) << content;
  }
  EXPECT_FALSE(Pack(kBox, {{"policy.toml", std::string(kMostOctets, 'a')}}));
}

struct Wrong {
  const char* name;
  const char* from;
  const char* to;
  const char* why;
};

class WrongSource : public testing::TestWithParam<Wrong> {};

TEST_P(WrongSource, IsRefusedWithItsLine) {
  const Wrong& row = GetParam();
  const auto result = ParseSource(Replaced(kBox, row.from, row.to), "box.toml");
  EXPECT_THAT(WhyNot(result), HasSubstr("box.toml:"));
  EXPECT_THAT(WhyNot(result), HasSubstr(row.why));
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongSource,
    testing::Values(
        Wrong{"NoFormat", "format = 1", "", "format: missing"},
        Wrong{"OtherFormat", "format = 1", "format = 2", "box.toml:1: format"},
        Wrong{"NotToml", "format = 1", "format = = 1", "not valid TOML"},
        Wrong{"Twice", "format = 1", "format = 1\nformat = 1", "not valid TOML"},
        Wrong{"HostName", "\"signer1.example.com\"", "\"-a\"", "host_name: found"},
        Wrong{"HostIsAddress", "\"signer1.example.com\"", "\"192.0.2.1\"", "host_name: found"},
        Wrong{"Replaces", "format = 1", "replaces = \"-a\"\nformat = 1", "replaces: found"},
        Wrong{"CertificateName", "IP:192.0.2.10", "IP:192.0.2", "certificate_names: found \"IP:192.0.2\""},
        Wrong{"InjectedName", "DNS:signer1.example.com", "DNS:a,URI:b", "certificate_names: found"},
        Wrong{"Parent", "tls/ca.pem", "../ca.pem", "files: found"},
        Wrong{"InnerParent", "tls/ca.pem", "tls/../../ca.pem", "files: found"},
        Wrong{"Absolute", "tls/ca.pem", "/etc/shadow", "files: found"},
        Wrong{"Hidden", "tls/ca.pem", ".ca", "files: found"}, Wrong{"Empty", "tls/ca.pem", "tls//ca", "files: found"},
        Wrong{"TheBoxes", "tls/ca.pem", "tls/server.key", "files: found"},
        Wrong{"Pin", "tls/ca.pem", "pin.cred", "files: found"},
        Wrong{"Origin", "tls/ca.pem", "box/origin.toml", "files: found"},
        Wrong{"FileTwice", "tls/ca.pem", "policy.toml", "is there twice"},
        Wrong{"FileAndFolder", "\"tls/ca.pem\"", "\"tls/ca.pem\", \"tls\"", "is a file and a folder"},
        Wrong{"NoPolicy", "\"policy.toml\", ", "", "\"policy.toml\" is missing"},
        Wrong{"Prefix", "format = 1", "network.addresses = [\"192.0.2.1\"]\nformat = 1", "network.addresses: found"},
        Wrong{"Injected", "format = 1", "network.interface = \"a\\nb\"\nformat = 1", "network.interface: found"},
        Wrong{"OnlyGateway", "format = 1", "network.gateways = [\"192.0.2.1\"]\nformat = 1", "there are no addresses"},
        Wrong{"Kind", "format = 1", "token.kind = \"abacus\"\nformat = 1", "token.kind: found"},
        Wrong{"NotOfThisKind", "format = 1", "token.kind = \"tpm\"\ntoken.label = \"a\"\nformat = 1",
              "token.label: unknown key"},
        Wrong{"NoName", "format = 1", "token.kind = \"smartcard\"\nformat = 1", "token.label: missing"},
        Wrong{"LongName", "format = 1",
              "token.kind = \"smartcard\"\ntoken.label = \"123456789012345678901234567890123\"\nformat = 1",
              "token.label: found"},
        Wrong{"NoModule", "format = 1", "token.kind = \"module\"\ntoken.label = \"a\"\nformat = 1",
              "token.module: missing"},
        Wrong{"WritableModule", "format = 1",
              "token = {kind = \"module\", label = \"a\", module = \"/var/m.so\"}\nformat = 1", "token.module: found"},
        Wrong{"ClimbingModule", "format = 1",
              "token = {kind = \"module\", label = \"a\", module = \"/usr/../var/m.so\"}\nformat = 1",
              "token.module: found"},
        Wrong{"ModuleThatIsAUri", "format = 1",
              "token = {kind = \"module\", label = \"a\", module = \"/usr/m.so?pin-value=1\"}\nformat = 1",
              "token.module: found"},
        Wrong{"Preload", "format = 1",
              "token = {kind = \"module\", label = \"a\", module = \"/usr/m.so\", environment = {LD_PRELOAD = "
              "\"x\"}}\nformat = 1",
              "token.environment: found \"LD_PRELOAD\""},
        Wrong{"Device", "format = 1",
              "token = {kind = \"module\", label = \"a\", module = \"/usr/m.so\", devices = "
              "[\"/dev/a\\nUser=root\"]}\nformat "
              "= 1",
              "token.devices: found"},
        Wrong{"Group", "format = 1",
              "token = {kind = \"module\", label = \"a\", module = \"/usr/m.so\", groups = [\"a b\"]}\nformat = 1",
              "token.groups: found"},
        Wrong{"Ed25519InTpm", "\"tls/ca.pem\"]",
              "\"tls/ca.pem\"]\n[token]\nkind = \"tpm\"\n[[domain]]\nname = \"example.com\"\nalgorithms = "
              "[\"rsa2048\", \"ed25519\"]\n",
              "domain[0].algorithms: found ed25519, which no TPM makes; expected"},
        Wrong{"Rsa4096InTpm", "\"tls/ca.pem\"]",
              "\"tls/ca.pem\"]\n[token]\nkind = \"tpm\"\n[[domain]]\nname = \"example.com\"\nalgorithms = "
              "[\"rsa4096\"]\n",
              "domain[0].algorithms: found rsa4096, which a TPM does not make"},
        Wrong{"KeysOnCard", "\"tls/ca.pem\"]",
              "\"tls/ca.pem\"]\n[token]\nkind = \"smartcard\"\nlabel = \"a\"\n[[domain]]\nname = \"example.com\"\n",
              "domain: no key is made on a smartcard"},
        Wrong{"Time", "format = 1", "time_servers = [\"a b\"]\nformat = 1", "time_servers: found"},
        Wrong{"Unknown", "format = 1", "hostname = \"a\"\nformat = 1", "hostname: unknown key"}),
    [](const auto& row) { return row.param.name; });

TEST(ProvisionConfiguration, PackedFilesAreThoseThatAreNamed) {
  const std::string packed = *Pack(kBox, kFiles);
  EXPECT_THAT(WhyNot(ParsePacked(kBox, "box.toml")), HasSubstr("file: missing"));
  EXPECT_THAT(WhyNot(ParsePacked(packed + "\"../x\" = \"\"\n", "box.toml")), HasSubstr("is not among files"));
  EXPECT_THAT(WhyNot(ParsePacked(packed + "\"policy.toml\" = \"\"\n", "box.toml")), HasSubstr("not valid TOML"));
  EXPECT_THAT(WhyNot(ParsePacked(Replaced(packed, "\n\"policy.toml\" = \"\"\"\n\"\"\"\n", "\n"), "box.toml")),
              HasSubstr("\"policy.toml\" is missing"));
  EXPECT_THAT(WhyNot(ParsePacked(Replaced(packed, "-----BEGIN CERTIFICATE", "-----BEGIN RSA PRIVATE KEY"), "box.toml")),
              HasSubstr("holds a private key"));
  EXPECT_THAT(WhyNot(ParsePacked(std::string(kMostOctets + 1, '\n'), "box.toml")), HasSubstr("is larger than"));
  std::string deep = "format = ";
  deep.append(100'000, '[');
  EXPECT_THAT(WhyNot(ParsePacked(deep, "box.toml")), HasSubstr("not valid TOML"));
}

TEST(ProvisionConfiguration, FixedAddresses) {
  const auto configuration = ParseSource(kBox +
                                             "[network]\ninterface = \"eno1\"\naddresses = [\"192.0.2.10/24\", "
                                             "\"2001:db8::10/64\"]\ngateways = [\"192.0.2.1\"]\n"
                                             "dns = [\"2001:db8::53\"]\n",
                                         "box.toml");
  ASSERT_TRUE(configuration) << configuration.error().message;
  EXPECT_THAT(NetworkFile(configuration->network),
              HasSubstr("[Match]\nName=eno1\n\n[Network]\nDHCP=no\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\n"
                        "Gateway=192.0.2.1\nDNS=2001:db8::53\n"));
}

TEST(ProvisionConfiguration, TheBoxAddsItsTokenAndTheDomains) {
  const auto configuration =
      ParsePacked(*Pack(kBox + "[[domain]]\nname = \"example.com\"\nalgorithms = [\"ed25519\"]\n", kFiles), "box.toml");
  ASSERT_TRUE(configuration) << configuration.error().message;
  const std::string text = DaemonConfig(*configuration, {});
  EXPECT_THAT(text, HasSubstr("[[token]]\nname = \"main\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\n"));
  EXPECT_THAT(text, HasSubstr("[[initial_domain]]\nname = \"example.com\"\nalgorithms = [\"ed25519\"]\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("initial_rotation")));
  EXPECT_EQ(UnitOf(configuration->token), "");
}

Configuration WithTokenTable(const std::string& token, const std::string& daemon = "[signing]\n") {
  std::map<std::string, std::string> files = kFiles;
  files["hallmark.toml"] = daemon;
  const auto configuration = ParsePacked(*Pack(kBox + "[token]\n" + token, files), "box.toml");
  EXPECT_TRUE(configuration) << WhyNot(configuration);
  return configuration ? *configuration : Configuration{};
}

TEST(ProvisionConfiguration, ATpmHasNoEd25519SoTheLedgersKeyIsBesideIt) {
  const Configuration configuration = WithTokenTable("kind = \"tpm\"\n[[domain]]\nname = \"example.com\"\n");
  EXPECT_EQ(configuration.domains.at(0).algorithms, std::vector<std::string>{"rsa2048"});
  const std::string text = DaemonConfig(configuration, {});
  EXPECT_THAT(text, HasSubstr("[ledger]\ntoken = \"ledger\"\n"));
  EXPECT_THAT(text, HasSubstr("TPM2_PKCS11_TCTI = \"tabrmd:\""));
  EXPECT_LT(text.find("name = \"main\""), text.find("name = \"ledger\"")) << "the first is the default for keys";
  EXPECT_THAT(text,
              HasSubstr("pkcs11:token=ledger?pin-source=file:/run/credentials/hallmark-signerd.service/ledger-pin"));
  EXPECT_THAT(text, HasSubstr("[initial_rotation]\nalgorithms = [\"rsa2048\"]\n"));
  EXPECT_EQ(UnitOf(configuration.token),
            "# Of the box's token.\n[Service]\nLoadCredentialEncrypted=ledger-pin:/etc/hallmark/ledger-pin.cred\n"
            "SupplementaryGroups=tss\n");
}

TEST(ProvisionConfiguration, TheLedgersTokenGoesIntoTheTableThatIsThere) {
  for (const char* header : {"[ledger]", "  [ ledger ] # kept for long"}) {
    const std::string before = std::string("[signing]\n") + header + "\n", after = "keep_days = 30\n[admin]";
    const std::string text = DaemonConfig(WithTokenTable("kind = \"tpm\"\n", before + after), {});
    EXPECT_THAT(text, testing::StartsWith(before + "token = \"ledger\"  # added by the box\n" + after + "\n"));
    EXPECT_EQ(text.find("ledger]", before.size()), std::string::npos) << "there is one table of that name";
  }
  EXPECT_EQ(AfterLedgerHeader("ledger.keep_days = 30\n[ledger.sink]\n[[ledger]]"), std::string::npos);
  EXPECT_EQ(AfterLedgerHeader("[ledger]"), 8u);
}

TEST(ProvisionConfiguration, AVendorsModule) {
  const std::string table =
      "kind = \"module\"\nmodule = \"/opt/vendor/lib/module.so\"\nlabel = \"a;slot-id=1?pin-value=b %\"\nserial = "
      "\"01\"\n"
      "sessions = 30\nenvironment = { VENDOR_CONFIG = \"/etc/hallmark/a \\\"b\\\"\" }\ndevices = "
      "[\"char-usb_device\"]\n"
      "groups = [\"hsm\"]\n";
  const Configuration configuration = WithTokenTable(table);
  const std::string text = DaemonConfig(configuration, {});
  EXPECT_THAT(text,
              HasSubstr("module = \"/opt/vendor/lib/module.so\"\nuri = \"pkcs11:token=a%3Bslot-id%3D1%3Fpin-value%3Db"
                        "%20%25;serial=01?pin-source=file:/run/credentials/hallmark-signerd.service/pin\"\n"
                        "sessions = 30\nenvironment = { VENDOR_CONFIG = \"/etc/hallmark/a \\\"b\\\"\" }\n"));
  EXPECT_THAT(UnitOf(configuration.token), HasSubstr("DeviceAllow=char-usb_device rw\nSupplementaryGroups=hsm\n"));
  const Configuration both = WithTokenTable(table + "ed25519 = true\n[[domain]]\nname = \"example.com\"\n");
  EXPECT_EQ(both.domains.at(0).algorithms, (std::vector<std::string>{"rsa2048", "ed25519"}));
  EXPECT_THAT(DaemonConfig(both, {}), testing::Not(HasSubstr("name = \"ledger\"")));
}

TEST(ProvisionConfiguration, ASmartcardsKeysAreReplacedByHand) {
  const Configuration configuration = WithTokenTable("kind = \"smartcard\"\nlabel = \"Signing card\"\n");
  const std::string text = DaemonConfig(configuration, {});
  EXPECT_THAT(text, HasSubstr("pkcs11:token=Signing%20card?"));
  EXPECT_THAT(text, HasSubstr("sessions = 1\nenvironment = { }\n"));
  EXPECT_THAT(text, HasSubstr("on_demand = true\n"));
}

}  // namespace
}  // namespace hallmark::provision
