#include "signerd/dns/zone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace hallmark::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kSoa[] = " 3600 IN SOA ns. admin. 1 3600 600 86400 1800";

struct Answers {
  std::vector<std::string> answer, authority;
};

void Push(ldns_pkt* packet, ldns_pkt_section section, const std::vector<std::string>& records) {
  for (const std::string& text : records) {
    ldns_rr* record = nullptr;
    ASSERT_EQ(ldns_rr_new_frm_str(&record, text.c_str(), 0, nullptr, nullptr), LDNS_STATUS_OK) << text;
    ASSERT_TRUE(ldns_pkt_push_rr(packet, section, record));
  }
}

// Finds the zone of "a.b.example.test" where the names are answered so; `asked` gets what is asked for.
Result<std::string> Find(const std::map<std::string, Answers>& answers, std::vector<std::string>& asked) {
  const auto name = ParseName("a.b.example.test");
  const auto zone = FindZone(name->get(), [&](const ldns_rdf* at, ldns_rr_type type) -> Result<Packet> {
    EXPECT_EQ(type, LDNS_RR_TYPE_SOA);
    asked.push_back(NameText(at));
    Packet packet(ldns_pkt_new());
    const auto found = answers.find(asked.back());
    if (found == answers.end()) return packet;
    Push(packet.get(), LDNS_SECTION_ANSWER, found->second.answer);
    Push(packet.get(), LDNS_SECTION_AUTHORITY, found->second.authority);
    return packet;
  });
  if (!zone) return zone.error();
  return NameText(zone->get());
}

TEST(FindZone, WalksUpUntilAnApexIsShown) {
  const std::string soa = std::string("example.test.") + kSoa;
  const std::string of_root = std::string(".") + kSoa;
  struct Case {
    const char* title;
    std::map<std::string, Answers> answers;
    const char* zone;
    std::size_t questions;
  };
  const Case kCases[] = {
      {"the name itself",
       {{"a.b.example.test.", {{std::string("a.b.example.test.") + kSoa}, {}}}},
       "a.b.example.test.",
       1},
      {"the denial's zone", {{"a.b.example.test.", {{}, {soa}}}}, "example.test.", 1},
      {"the root's denial", {{"a.b.example.test.", {{}, {of_root}}}}, ".", 1},
      {"a name above", {{"example.test.", {{soa}, {}}}}, "example.test.", 3},
      {"behind an alias comes another zone",
       {{"a.b.example.test.", {{"a.b.example.test. IN CNAME x.test."}, {std::string("test.") + kSoa}}},
        {"b.example.test.", {{}, {soa}}}},
       "example.test.",
       2},
      {"below a DNAME",
       {{"a.b.example.test.",
         {{"b.example.test. IN DNAME x.test.", "a.b.example.test. IN CNAME a.x.test."}, {of_root}}},
        {"b.example.test.", {{}, {soa}}}},
       "example.test.",
       2},
      {"a zone beside it says nothing",
       {{"a.b.example.test.", {{}, {std::string("z.example.test.") + kSoa}}}, {"b.example.test.", {{}, {soa}}}},
       "example.test.",
       2},
      {"the root", {{".", {{of_root}, {}}}}, ".", 5},
  };
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.title);
    std::vector<std::string> asked;
    const auto zone = Find(row.answers, asked);
    ASSERT_TRUE(zone) << zone.error().message;
    EXPECT_EQ(*zone, row.zone);
    EXPECT_EQ(asked.size(), row.questions);
  }
}

TEST(FindZone, EndsAtTheRoot) {
  std::vector<std::string> asked;
  const auto zone = Find({}, asked);
  ASSERT_FALSE(zone);
  EXPECT_EQ(zone.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(asked, ElementsAre("a.b.example.test.", "b.example.test.", "example.test.", "test.", "."));
}

TEST(NegativeTtl, IsTheSmallerOfTwo) {
  for (const auto& [text, seconds] :
       std::map<std::string, int>{{". 3600 IN SOA ns. admin. 1 3600 600 86400 1800", 1800},
                                  {". 60 IN SOA ns. admin. 1 3600 600 86400 1800", 60},
                                  {". 4000000000 IN SOA ns. admin. 1 3600 600 86400 1800", 0}}) {
    ldns_rr* raw = nullptr;
    ASSERT_EQ(ldns_rr_new_frm_str(&raw, text.c_str(), 0, nullptr, nullptr), LDNS_STATUS_OK) << text;
    const Record soa(raw);
    EXPECT_EQ(NegativeTtl(raw), std::chrono::seconds(seconds)) << text;
  }
}

}  // namespace
}  // namespace hallmark::dns
