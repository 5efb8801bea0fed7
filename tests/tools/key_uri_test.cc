#include "tools/dkimctl/key_uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hallmark::ctl {
namespace {

using admin::v1::GetStatusResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// "hsm", a token alone; "east" and "west", clones in the group "pair"; "away", of which nothing is known.
GetStatusResponse Status() {
  GetStatusResponse status;
  const auto add = [&](const char* name, const char* group, const char* label, const char* serial) {
    auto& token = *status.add_tokens();
    token.set_name(name);
    token.set_group(group);
    token.set_label(label);
    token.set_serial(serial);
    token.set_manufacturer(*label == 0 ? "" : "Maker");
    token.set_model(*label == 0 ? "" : "M 1");
  };
  add("hsm", "hsm", "Signing keys", "11");
  add("east", "pair", "clone", "21");
  add("west", "pair", "clone", "22");
  add("away", "away", "", "");
  return status;
}

std::string TokenOf(const std::string& uri, const std::string& token = "") {
  const auto parsed = KeyUri::Parse(uri);
  if (!parsed) return parsed.error().message;
  const auto place = parsed->Find(token, Status());
  return place ? place->token : place.error().message;
}

TEST(KeyUri, TheIdMayBeAnyOctets) {
  EXPECT_EQ(KeyUri::Parse("pkcs11:id=%00%ffa")->Find("", Status())->cka_id, std::string("\x00\xff\x61", 3));
}

TEST(KeyUri, TheTokenIsFoundByWhatTheUriSays) {
  EXPECT_EQ(TokenOf("pkcs11:token=Signing%20keys;id=%01"), "hsm");
  EXPECT_EQ(TokenOf("pkcs11:serial=11;id=%01"), "hsm");
  EXPECT_EQ(
      TokenOf("pkcs11:model=M%201;manufacturer=Maker;serial=11;token=Signing%20keys;id=%01;object=s;type=private"),
      "hsm");
  EXPECT_EQ(TokenOf("pkcs11:token=clone;id=%01;type=public"), "pair") << "both are of the group";
  EXPECT_EQ(TokenOf("pkcs11:serial=22;id=%01"), "pair");
}

TEST(KeyUri, OrByItsName) {
  EXPECT_EQ(TokenOf("pkcs11:token=hsm;id=%01"), "hsm");
  EXPECT_EQ(TokenOf("pkcs11:token=west;id=%01"), "pair");
  EXPECT_EQ(TokenOf("pkcs11:token=pair;id=%01"), "pair");
  EXPECT_EQ(TokenOf("pkcs11:token=away;id=%01"), "away") << "whatever is known of it";
}

TEST(KeyUri, OrByWhatIsSaidBesideIt) {
  EXPECT_EQ(TokenOf("pkcs11:id=%01"), "");
  EXPECT_EQ(TokenOf("pkcs11:id=%01", "pair"), "pair");
  EXPECT_EQ(TokenOf("pkcs11:model=M%201;id=%01", "hsm"), "hsm");
  EXPECT_THAT(TokenOf("pkcs11:model=M%201;id=%01"), HasSubstr("several tokens"));
  EXPECT_THAT(TokenOf("pkcs11:token=clone;id=%01", "hsm"), HasSubstr("hsm is not the one"));
}

TEST(KeyUri, ATokenThatIsNoneOfSignerdsIsTold) {
  EXPECT_THAT(TokenOf("pkcs11:token=other;id=%01"), HasSubstr("no token of signerd"));
  EXPECT_THAT(TokenOf("pkcs11:token=Signing%20keys;serial=99;id=%01"), HasSubstr("no token of signerd"));
  EXPECT_THAT(TokenOf("pkcs11:token=hsm;serial=99;id=%01"), HasSubstr("no token of signerd"));
}

// What it says is found again.
TEST(KeyUri, OfAKey) {
  admin::v1::Key key;
  key.set_token("hsm");
  key.set_cka_id(std::string("\x00\xffz", 3));
  EXPECT_THAT(UrisOf(key, Status()), ElementsAre("pkcs11:token=Signing%20keys;id=%00%FF%7A"));
  EXPECT_EQ(TokenOf(UrisOf(key, Status()).front()), "hsm");
  key.set_token("pair");
  EXPECT_THAT(UrisOf(key, Status()),
              ElementsAre("pkcs11:serial=21;token=clone;id=%00%FF%7A", "pkcs11:serial=22;token=clone;id=%00%FF%7A"));
  key.add_missing_tokens("east");
  EXPECT_THAT(UrisOf(key, Status()), ElementsAre("pkcs11:serial=22;token=clone;id=%00%FF%7A"));
  key.set_token("away");
  EXPECT_THAT(UrisOf(key, Status()), IsEmpty());
}

}  // namespace
}  // namespace hallmark::ctl
