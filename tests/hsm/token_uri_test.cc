#include "hsm/pkcs11/token_uri.h"

#include <gtest/gtest.h>

#include <cstring>

namespace hallmark::pkcs11 {
namespace {

CK_TOKEN_INFO Token(const std::string& label, const std::string& serial) {
  CK_TOKEN_INFO token{};
  std::memset(token.label, ' ', sizeof token.label);
  std::memset(token.serialNumber, ' ', sizeof token.serialNumber);
  std::memcpy(token.label, label.data(), label.size());
  std::memcpy(token.serialNumber, serial.data(), serial.size());
  return token;
}

TEST(TokenUri, MatchesByLabelAndSerial) {
  const auto uri = TokenUri::Parse("pkcs11:token=mail%20keys;serial=1a2b?pin-source=file:/run/pin");
  ASSERT_TRUE(uri) << uri.error().message;
  auto token = Token("mail keys", "1a2b");
  EXPECT_TRUE(uri->Matches(token));
  token = Token("mail keys", "1a2c");
  EXPECT_FALSE(uri->Matches(token));
  token = Token("mail key", "1a2b");
  EXPECT_FALSE(uri->Matches(token));
}

struct Good {
  const char* name;
  const char* uri;
  const char* pin_file;
};
class GoodTokenUri : public testing::TestWithParam<Good> {};
TEST_P(GoodTokenUri, NamesThePinFile) {
  const auto uri = TokenUri::Parse(GetParam().uri);
  ASSERT_TRUE(uri) << uri.error().message;
  EXPECT_EQ(uri->pin_file(), GetParam().pin_file);
}
const Good kGood[] = {
    {"File", "pkcs11:token=a?pin-source=file:/etc/pin", "/etc/pin"},
    {"FileWithEmptyAuthority", "pkcs11:token=a?pin-source=file:///etc/pin", "/etc/pin"},
    {"Escaped", "pkcs11:token=a?pin-source=file:/etc/my%20pin", "/etc/my pin"},
    {"SerialOnly", "pkcs11:serial=12?pin-source=file:/etc/pin", "/etc/pin"},
};
INSTANTIATE_TEST_SUITE_P(All, GoodTokenUri, testing::ValuesIn(kGood),
                         [](const auto& row) { return std::string(row.param.name); });

struct Bad {
  const char* name;
  const char* uri;
};
class BadTokenUri : public testing::TestWithParam<Bad> {};
TEST_P(BadTokenUri, IsRefusedWithoutRepeatingIt) {
  const auto uri = TokenUri::Parse(GetParam().uri);
  ASSERT_FALSE(uri);
  EXPECT_EQ(uri.error().reason, Reason::kConfigInvalid);
  EXPECT_EQ(uri.error().message.find("1234"), std::string::npos) << "it may hold a PIN";
}
const Bad kBad[] = {
    {"Empty", ""},
    {"OtherScheme", "https://example.com/"},
    {"BadEscape", "pkcs11:token=%zz?pin-source=file:/etc/pin"},
    {"PinValue", "pkcs11:token=a?pin-value=1234"},
    {"PinValueBesideASource", "pkcs11:token=a?pin-source=file:/etc/pin&pin-value=1234"},
    {"NoPinSource", "pkcs11:token=a"},
    {"RelativePinSource", "pkcs11:token=a?pin-source=file:pin"},
    {"RemotePinSource", "pkcs11:token=a?pin-source=file://host/pin"},
    {"PinSourceIsACommand", "pkcs11:token=a?pin-source=|/bin/cat"},
    {"NamesNoToken", "pkcs11:?pin-source=file:/etc/pin"},
    {"NamesAManufacturerOnly", "pkcs11:manufacturer=x?pin-source=file:/etc/pin"},
    {"NamesAnObject", "pkcs11:token=a;object=key?pin-source=file:/etc/pin"},
    {"NamesASlotNumber", "pkcs11:token=a;slot-id=3?pin-source=file:/etc/pin"},
    {"NamesALibrary", "pkcs11:token=a;library-description=x?pin-source=file:/etc/pin"},
    {"NamesAModule", "pkcs11:token=a?pin-source=file:/etc/pin&module-path=/lib/x.so"},
    {"UnknownAttribute", "pkcs11:token=a;colour=red?pin-source=file:/etc/pin"},
};
INSTANTIATE_TEST_SUITE_P(All, BadTokenUri, testing::ValuesIn(kBad),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace hallmark::pkcs11
