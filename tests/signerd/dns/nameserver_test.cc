#include "signerd/dns/nameserver.h"

#include <gtest/gtest.h>

namespace hallmark::dns {
namespace {

struct GoodCase {
  const char* name;
  std::string_view text;
  Nameserver expected;
};
const GoodCase kGood[] = {
    {"Ipv4", "192.0.2.1", {"192.0.2.1", 53}},        {"Ipv4WithPort", "127.0.0.1:5353", {"127.0.0.1", 5353}},
    {"Ipv6", "2001:db8::1", {"2001:db8::1", 53}},    {"Ipv6InBrackets", "[::1]", {"::1", 53}},
    {"Ipv6WithPort", "[::1]:65535", {"::1", 65535}},
};

class GoodNameserver : public testing::TestWithParam<GoodCase> {};
TEST_P(GoodNameserver, IsTaken) {
  const auto server = ParseNameserver(GetParam().text);
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_EQ(*server, GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(Forms, GoodNameserver, testing::ValuesIn(kGood),
                         [](const auto& row) { return std::string(row.param.name); });

class BadNameserver : public testing::TestWithParam<std::string_view> {};
TEST_P(BadNameserver, IsRefusedByName) {
  const auto server = ParseNameserver(GetParam());
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().reason, Reason::kInvalidArgument);
  EXPECT_NE(server.error().message.find("ADDRESS:PORT"), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(Forms, BadNameserver,
                         testing::Values("", "localhost", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
                                         "127.0.0.1:5x", "127.0.0", "[::1", "[::1]53", "[127.0.0.1]:53", ":53"));

}  // namespace
}  // namespace hallmark::dns
