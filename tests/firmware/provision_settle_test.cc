#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firmware/provision/box.h"
#include "firmware/runtime/file.h"
#include "health/tree.h"

namespace hallmark::provision {
namespace {

using testing::HasSubstr;

// A box that is set up with a vendor's module.
class Settling : public testing::Test {
 protected:
  void HasToken(const std::string& lines) {
    tree_.Put("var/lib/hallmark-config/box/configuration.toml",
              "format = 1\nhost_name = \"signer1.example.com\"\ncertificate_names = [\"DNS:signer1.example.com\"]\n"
              "files = [\"hallmark.toml\", \"policy.toml\"]\n[token]\nkind = \"module\"\nmodule = \"/opt/vendor.so\"\n"
              "label = \"vendor\"\ned25519 = true\n" +
                  lines + "[file]\n\"hallmark.toml\" = \"\"\n\"policy.toml\" = \"\"\n");
  }
  // How often systemd had to read signerd's unit again.
  int Settle() const {
    int reloads = 0;
    const Status settled = provision::Settle(
        places_, [](const std::string&) { return Ok(); },
        [&] {
          ++reloads;
          return Ok();
        });
    EXPECT_TRUE(settled) << settled.error().message;
    return reloads;
  }
  std::string Unit() const {
    const auto unit = ReadFile(places_.unit);
    return unit ? *unit : "";
  }

  test::Tree tree_;
  const Places places_{tree_.path()};
};

TEST_F(Settling, SystemdHearsOfWhatTheTokenNeeds) {
  HasToken("");
  EXPECT_EQ(Settle(), 0) << "nothing";
  HasToken("devices = [\"/dev/vendor0\"]\ngroups = [\"vendor\"]\n");
  EXPECT_EQ(Settle(), 1);
  EXPECT_THAT(Unit(), HasSubstr("DeviceAllow=/dev/vendor0 rw\nSupplementaryGroups=vendor\n"));
}

TEST_F(Settling, AndOfWhatItNeedsNoMore) {
  HasToken("devices = [\"/dev/vendor0\"]\ngroups = [\"vendor\"]\n");
  Settle();
  HasToken("");
  EXPECT_EQ(Settle(), 1) << "signerd would keep them";
  EXPECT_EQ(Unit(), "");
  EXPECT_EQ(Settle(), 0);
}

}  // namespace
}  // namespace hallmark::provision
