#include "signerd/dns/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "signerd/dns/message.h"

namespace hallmark::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = ServerAnswer::Kind;

constexpr char kName[] = "sel._domainkey.example.test.";

// What is read of an answer to "kName TXT" with these records; `change` has the last word. A record without anything
// after its type has no data at all.
Said Read(const std::vector<std::string>& records, const std::function<void(ldns_pkt*)>& change = {}) {
  const Rdf name(ldns_dname_new_frm_str(kName)), apex(ldns_dname_new_frm_str("example.test."));
  const Bytes query = MakeQuery(name.get(), LDNS_RR_TYPE_TXT, Asking::kServer);
  ldns_pkt* raw = nullptr;
  EXPECT_EQ(ldns_wire2pkt(&raw, query.data(), query.size()), LDNS_STATUS_OK);
  const Packet answer(raw);
  ldns_pkt_set_qr(raw, 1);
  ldns_pkt_set_aa(raw, 1);
  for (const std::string& text : records) {
    ldns_rr* record = nullptr;
    if (text.ends_with(" CNAME") || text.ends_with(" TXT") || text.ends_with(" DNAME")) {
      record = ldns_rr_new();
      ldns_rr_set_owner(record, ldns_dname_new_frm_str(text.substr(0, text.find(' ')).c_str()));
      ldns_rr_set_type(record, ldns_get_rr_type_by_name(text.substr(text.rfind(' ') + 1).c_str()));
    } else {
      EXPECT_EQ(ldns_rr_new_frm_str(&record, text.c_str(), 300, nullptr, nullptr), LDNS_STATUS_OK) << text;
    }
    ldns_pkt_push_rr(raw, LDNS_SECTION_ANSWER, record);
  }
  if (change) change(raw);
  std::uint8_t* octets = nullptr;
  std::size_t size = 0;
  EXPECT_EQ(ldns_pkt2wire(&octets, raw, &size), LDNS_STATUS_OK);
  const std::unique_ptr<std::uint8_t, LdnsFree<std::free>> freed(octets);
  return Interpret(query, Bytes(octets, octets + size), {name.get(), apex.get(), nullptr, {}, ""});
}

std::string At(const std::string& rest) { return kName + (" " + rest); }

TEST(Interpret, RecordsOfTheNameCount) {
  const Said said = Read(
      {At("600 TXT \"b\" \"c\""), At("60 TXT \"a\""), "other.example.test. 900 TXT \"x\"", At("300 CH TXT \"y\"")});
  EXPECT_EQ(said.answer.kind, Kind::kRecord);
  EXPECT_THAT(said.answer.values, ElementsAre("a", "bc"));
  EXPECT_EQ(said.answer.ttl, std::chrono::seconds(600));
  EXPECT_EQ(said.longest_ttl, std::chrono::seconds(600));
  EXPECT_FALSE(said.target);
}

// RFC 6891 section 6.1.1, RFC 8945 section 5.1.
TEST(Interpret, OneOptAndOneTsigAtMost) {
  const Rdf name(ldns_dname_new_frm_str(kName)), apex(ldns_dname_new_frm_str("example.test."));
  const Bytes query = MakeQuery(name.get(), LDNS_RR_TYPE_TXT, Asking::kServer);
  for (const std::uint8_t type : {std::uint8_t{41}, std::uint8_t{250}}) {
    Bytes wire = query;
    wire[2] |= 0x84;
    wire[11] += 2;  // additional records, beside the query's own OPT
    for (int i = 0; i < 2; ++i) wire.insert(wire.end(), {1, 'k', 0, 0, type, 0, 1, 0, 0, 0, 0, 0, 0});
    const Said said = Interpret(query, wire, {name.get(), apex.get(), nullptr, {}, ""});
    EXPECT_THAT(said.answer.detail, HasSubstr("two OPT or two TSIG")) << int{type};
  }
}

// RFC 2136 section 3.8. Of a question nothing less than the question says what the answer is about.
TEST(ParseAnswer, OfAnUpdateMayBeTheHeaderAlone) {
  const auto parses = [](std::uint8_t opcode, std::uint8_t id) {
    const auto flags = static_cast<std::uint8_t>(opcode << 3);
    const Bytes asked = {0, 1, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, LDNS_RR_TYPE_SOA, 0, 1};
    const Bytes answered = {0, id, static_cast<std::uint8_t>(0x80 | flags), LDNS_RCODE_REFUSED, 0, 0, 0, 0, 0, 0, 0, 0};
    return ParseAnswer(asked, answered).has_value();
  };
  EXPECT_TRUE(parses(LDNS_PACKET_UPDATE, 1));
  EXPECT_FALSE(parses(LDNS_PACKET_UPDATE, 2));
  EXPECT_FALSE(parses(LDNS_PACKET_QUERY, 1));
}

// ldns takes what is behind a record's last field, and still within its length, for the next record.
TEST(Interpret, ASecondTsigBehindTheFieldsOfTheFirst) {
  const Rdf name(ldns_dname_new_frm_str(kName)), apex(ldns_dname_new_frm_str("example.test."));
  const Bytes query = MakeQuery(name.get(), LDNS_RR_TYPE_TXT, Asking::kServer);
  constexpr std::uint8_t kTsig[] = {1, 'k', 0, 0, 250, 0, 1, 0, 0, 0, 0, 0}, kFields = 17;
  Bytes wire = query;
  wire[2] |= 0x84;
  wire[11] += 2;
  wire.insert(wire.end(), std::begin(kTsig), std::end(kTsig));
  wire.push_back(kFields + sizeof kTsig + 1);
  wire.insert(wire.end(), kFields, 0);
  wire.insert(wire.end(), std::begin(kTsig), std::end(kTsig));
  wire.push_back(0);
  const Said said = Interpret(query, wire, {name.get(), apex.get(), nullptr, {}, ""});
  EXPECT_THAT(said.answer.detail, HasSubstr("two OPT or two TSIG"));
}

TEST(Interpret, TtlWithTheHighestBitIsZero) {
  EXPECT_EQ(Read({At("4294967295 TXT \"a\"")}).longest_ttl, std::chrono::seconds(0));
  EXPECT_EQ(Read({At("2147483647 TXT \"a\"")}).longest_ttl, std::chrono::seconds(2147483647));
}

TEST(Interpret, AliasesSendOn) {
  const Said cname = Read({At("CNAME target.test."), "target.test. TXT \"not asked here\""});
  ASSERT_TRUE(cname.target);
  EXPECT_EQ(NameText(cname.target.get()), "target.test.");
  EXPECT_TRUE(cname.answer.values.empty());
  // What the server makes of a DNAME is not believed: it is not signed.
  const Said dname = Read({"example.test. 900 DNAME other.test.", At("CNAME forged.test.")});
  ASSERT_TRUE(dname.target);
  EXPECT_EQ(NameText(dname.target.get()), "sel._domainkey.other.test.");
  EXPECT_EQ(dname.longest_ttl, std::chrono::seconds(900));
}

struct OddCase {
  const char* title;
  std::vector<std::string> records;
  Kind kind;
  const char* says;
};
TEST(Interpret, OddRecordsAreNoRecords) {
  const std::string label(60, 'x');
  const std::string long_name = label + "." + label + "." + label + "." + label + ".";
  const OddCase kCases[] = {
      {"alias without a target", {At("CNAME")}, Kind::kNone, "no TXT record"},
      {"record without a string", {At("TXT")}, Kind::kNone, "no TXT record"},
      {"DNAME without a target", {"example.test. DNAME"}, Kind::kNone, "no TXT record"},
      {"DNAME of the name itself", {At("DNAME other.test.")}, Kind::kNone, "no TXT record"},
      {"DNAME of a name beside it", {"else.test. DNAME other.test."}, Kind::kNone, "no TXT record"},
      {"name that becomes too long", {"example.test. DNAME " + long_name}, Kind::kNone, "too long"},
      {"two aliases", {At("CNAME a.test."), At("CNAME b.test.")}, Kind::kSilent, "several aliases"},
  };
  for (const OddCase& row : kCases) {
    SCOPED_TRACE(row.title);
    const Said said = Read(row.records);
    EXPECT_EQ(said.answer.kind, row.kind);
    EXPECT_FALSE(said.target);
    EXPECT_THAT(said.answer.detail, HasSubstr(row.says));
  }
}

TEST(Interpret, AnswersThatSayNothingAreSilent) {
  struct Case {
    const char* title;
    std::function<void(ldns_pkt*)> change;
    const char* says;
  };
  const Case kCases[] = {
      {"not authoritative", [](ldns_pkt* answer) { ldns_pkt_set_aa(answer, 0); },
       "not authoritative for example.test."},
      {"refused", [](ldns_pkt* answer) { ldns_pkt_set_rcode(answer, LDNS_RCODE_REFUSED); }, "REFUSED"},
      {"truncated", [](ldns_pkt* answer) { ldns_pkt_set_tc(answer, 1); }, "truncated"},
      {"a question", [](ldns_pkt* answer) { ldns_pkt_set_qr(answer, 0); }, "another question"},
      {"another id", [](ldns_pkt* answer) { ldns_pkt_set_id(answer, ldns_pkt_id(answer) ^ 1); }, "another question"},
      {"another kind", [](ldns_pkt* answer) { ldns_pkt_set_opcode(answer, LDNS_PACKET_NOTIFY); }, "another question"},
      {"another type",
       [](ldns_pkt* answer) { ldns_rr_set_type(ldns_rr_list_rr(ldns_pkt_question(answer), 0), LDNS_RR_TYPE_A); },
       "another question"},
  };
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.title);
    const Said said = Read({At("TXT \"a\"")}, row.change);
    EXPECT_EQ(said.answer.kind, Kind::kSilent);
    EXPECT_TRUE(said.answer.values.empty());
    EXPECT_THAT(said.answer.detail, HasSubstr(row.says));
  }
}

TEST(Interpret, NoSuchNameIsSaid) {
  const Said said = Read({}, [](ldns_pkt* answer) { ldns_pkt_set_rcode(answer, LDNS_RCODE_NXDOMAIN); });
  EXPECT_EQ(said.answer.kind, Kind::kNone);
  EXPECT_EQ(said.answer.detail, "no such name");
}

}  // namespace
}  // namespace hallmark::dns
