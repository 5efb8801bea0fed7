#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <set>

#include "hallmark/admin/v1/admin.pb.h"
#include "signerd/dkim/algorithm.h"
#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/json.h"
#include "tools/dkimctl/ledger_text.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/rotation_text.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

TEST(Table, AlignsColumns) {
  Table table({"NAME", "STATE"});
  table.Add({"a", "active"});
  table.Add({"longer", "off"});
  EXPECT_EQ(table.Render(), "NAME    STATE\na       active\nlonger  off\n");
}

TEST(Table, SaysNothingWithoutRows) { EXPECT_EQ(Table({"NAME"}).Render(), ""); }

TEST(Table, CountsCharactersNotOctets) {
  Table table;
  table.Add({"b\u00fccher", "x"});
  table.Add({"bucher", "x"});
  EXPECT_EQ(table.Render(), "b\u00fccher  x\nbucher  x\n");
}

TEST(Table, ShowsNoControlCharacters) {
  Table table;
  table.Add({"a\033[31mb\nc\x7f", "x"});
  EXPECT_EQ(table.Render(), "a?[31mb?c?  x\n");
}

// C1 in UTF-8 and as a lone octet, and what turns the direction of writing; not what is beside them.
TEST(Table, ShowsNothingThatATerminalActsOn) {
  Table table;
  table.Add({"a\u009b31m\u0080\x9b|\u202e\u202a\u2066\u2069|\u00a0\u2029\u202f\u2065\u206a\u00fc\u201b", "x"});
  EXPECT_EQ(table.Render(), "a?31m??|????|\u00a0\u2029\u202f\u2065\u206a\u00fc\u201b  x\n");
}

TEST(Table, NeverPassesEightyColumnsAndLosesNothing) {
  for (std::size_t columns = 1; columns <= 7; ++columns) {
    for (const std::size_t size : {0u, 1u, 30u, 79u, 80u, 81u, 253u}) {
      Table table(std::vector<std::string>(columns, "HEADING"));
      table.Add(std::vector<std::string>(columns, std::string(size, 'x')));
      const std::string text = table.Render();
      EXPECT_EQ(std::count(text.begin(), text.end(), 'x'), static_cast<std::ptrdiff_t>(columns * size));
      std::size_t start = 0;
      for (std::size_t end; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
        EXPECT_LE(end - start, Table::kColumns);
      }
    }
  }
}

TEST(Wrap, CutsAtMarks) {
  EXPECT_THAT(Wrap("", 5), ElementsAre(""));
  EXPECT_THAT(Wrap("short", 5), ElementsAre("short"));
  EXPECT_THAT(Wrap("two words", 5), ElementsAre("two", "words"));
  EXPECT_THAT(Wrap("mail.example.com", 12), ElementsAre("mail.", "example.com"));
  EXPECT_THAT(Wrap("abcdefghij", 4), ElementsAre("abcd", "efgh", "ij"));
}

TEST(Json, WritesInOrderAndEscapes) {
  Json json = Json::Object();
  json.Set("z", Json::Text("a\"\\\n\t\x01")).Set("a", Json::Array().Add(Json::Number(-1)).Add(Json::Bool(true)));
  json.Set("empty", Json::Array()).Set("none", Json::Object());
  EXPECT_EQ(
      json.Dump(),
      "{\n \"z\": \"a\\\"\\\\\\n\\t\\u0001\",\n \"a\": [\n  -1,\n  true\n ],\n \"empty\": [],\n \"none\": {}\n}\n");
}

TEST(Json, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(Json::Text("b\u00fc\U0001F4E7").Dump(), "\"b\u00fc\U0001F4E7\"\n");
  EXPECT_EQ(Json::Text("\xff"
                       "a\xc3")
                .Dump(),
            "\"\\ufffda\\ufffd\"\n");
  EXPECT_EQ(Json::Text("\xc0\xaf").Dump(), "\"\\ufffd\\ufffd\"\n");             // overlong
  EXPECT_EQ(Json::Text("\xed\xa0\x80").Dump(), "\"\\ufffd\\ufffd\\ufffd\"\n");  // surrogate
}

TEST(Json, EscapesWhatATerminalActsOn) {
  EXPECT_EQ(Json::Text("\u009b\u202e\u2066\x7f\x1b\u201b").Dump(), "\"\\u009b\\u202e\\u2066\\u007f\\u001b\u201b\"\n");
  admin::v1::Domain domain;
  domain.set_name("\u009b\u202e\u2066\u201b");
  const std::string text = Json::Message(domain).Dump();
  EXPECT_THAT(text, HasSubstr("\\u009b\\u202e\\u2066"));
  admin::v1::Domain parsed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &parsed).ok()) << text;
  EXPECT_EQ(parsed.name(), domain.name());
}

TEST(Json, TakesMessagesAsTheyAre) {
  admin::v1::Domain domain;
  domain.set_name("example.com");
  const std::string text = Json::Object().Set("domain", Json::Message(domain)).Dump();
  google::protobuf::Struct parsed;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &parsed).ok()) << text;
  const auto& fields = parsed.fields().at("domain").struct_value().fields();
  EXPECT_EQ(fields.at("name").string_value(), "example.com");
  EXPECT_EQ(fields.at("active_key_count").number_value(), 0);  // also what has its default
}

TEST(Names, OfKeyAlgorithmsLeadBack) {
  for (const char* name : {"rsa2048", "rsa3072", "rsa4096", "ed25519"}) {
    const auto algorithm = KeyAlgorithmByName(name);
    ASSERT_TRUE(algorithm) << name;
    EXPECT_EQ(NameOf(*algorithm), name);
  }
  EXPECT_FALSE(KeyAlgorithmByName("rsa1024"));
  EXPECT_FALSE(KeyAlgorithmByName(""));
  EXPECT_FALSE(KeyAlgorithmByName("unspecified"));
}

TEST(Names, OfTimesAreUtc) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(TimeText(time), "");
  time.set_seconds(1769860800);
  EXPECT_EQ(TimeText(time), "2026-01-31 12:00:00Z");
}

TEST(LedgerText, TimesAreDaysRfc3339OrAgo) {
  constexpr std::int64_t kNow = 1'769'860'800;  // 2026-01-31 12:00:00Z
  const auto seconds = [](const std::string& text) { return TimeFrom(text, kNow)->seconds(); };
  EXPECT_EQ(seconds("2026-01-31"), kNow - 12 * 3600);
  EXPECT_EQ(seconds("2026-01-31T12:00:00Z"), kNow);
  EXPECT_EQ(seconds("2026-01-31T13:00:00+01:00"), kNow);
  EXPECT_EQ(seconds("90m"), kNow - 90 * 60);
  EXPECT_EQ(seconds("36h"), kNow - 36 * 3600);
  EXPECT_EQ(seconds("7d"), kNow - 7 * 86'400);
  for (const char* bad : {"", "m", "7", "7w", "-1d", "yesterday", "2026-13-01", "2026-1-1", "99999999999d"}) {
    EXPECT_FALSE(TimeFrom(bad, kNow)) << bad;
  }
}

TEST(LedgerText, CsvIsQuotedAndNoFormula) {
  admin::v1::LedgerRecord entry;
  entry.set_sequence(7);
  entry.mutable_record()->set_time_us(1'769'860'800'000'000);
  auto& signature = *entry.mutable_record()->mutable_signature();
  signature.set_partner("a,b");
  signature.set_message_id("=cmd|' /C calc'!A0");
  signature.set_from("say \"hi\"@example.com");
  const std::string line = RecordCsv(entry);
  EXPECT_TRUE(line.starts_with("7,2026-01-31T12:00:00Z,signature,\"a,b\",")) << line;
  EXPECT_NE(line.find(",'=cmd|' /C calc'!A0,"), std::string::npos) << line;
  EXPECT_NE(line.find(",\"say \"\"hi\"\"@example.com\","), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with("\r\n"));
  const std::string headings = RecordCsvHeadings();
  EXPECT_EQ(std::count(headings.begin(), headings.end(), ','), 18);
}

TEST(LedgerText, SaysWhatAnActChanges) {
  admin::v1::SearchRecordsResponse page;
  auto& act = *page.add_records()->mutable_record()->mutable_admin_act();
  act.set_operator_("otto");
  act.set_method("ApplyPolicy");
  act.set_outcome("OK");
  act.set_request_sha256("\x01\xff");
  act.add_changes("partner acme: removed");
  act.add_changes("partner beta: weight: 1 -> 5");
  EXPECT_THAT(RecordTable(page), HasSubstr("otto ApplyPolicy OK: partner acme: removed"));
  EXPECT_THAT(RecordTable(page), HasSubstr("(and 1 more)"));
  const std::string facts = RecordFacts(page.records(0));
  for (const char* wanted : {"01ff", "partner acme: removed", "partner beta: weight: 1 -> 5"}) {
    EXPECT_THAT(facts, HasSubstr(wanted));
  }
  EXPECT_THAT(RecordCsv(page.records(0)), EndsWith(",partner acme: removed; partner beta: weight: 1 -> 5\r\n"));
  act.set_changes(0, std::string(300, 'x'));
  EXPECT_LT(RecordTable(page).size(), 500u);
}

TEST(Names, EachAlgorithmOfTheApiHasItsOwn) {
  std::set<std::string> names;
  const auto* values = signing::v1::Algorithm_descriptor();
  for (int i = 0; i < values->value_count(); ++i) {
    names.insert(NameOf(static_cast<signing::v1::Algorithm>(values->value(i)->number())));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(values->value_count()));
  for (const dkim::AlgorithmInfo& info : dkim::Algorithms()) EXPECT_THAT(names, Contains(std::string(info.name)));
  EXPECT_EQ(NameOf(static_cast<signing::v1::Algorithm>(99)), "unknown") << "a newer signerd's is no RSA";
}

TEST(Failure, IsOneLine) { EXPECT_EQ(Failed("a\r\nb\tc").message, "a  b c"); }

TEST(Failure, HasNothingThatATerminalActsOn) {
  EXPECT_EQ(Failed("\x1b[2J\u009b2J \u202ebad\u2069 \x9b \u00fc\u201b\xff").message,
            " [2J 2J  bad    \u00fc\u201b\xff");
}

// What one operator writes another one reads.
TEST(RotationText, ShowsReasonsAsOneLineOfText) {
  admin::v1::Rotation rotation;
  rotation.set_domain("example.com");
  rotation.set_paused(true);
  rotation.set_waits_for("zone\x1b]0;moves\u009b\nnext: nothing");
  rotation.mutable_policy()->set_backup_waiver("lost\x1b[2J \u202enot");
  rotation.mutable_policy()->set_backup_waived_by("otto");
  const std::string text = RotationText(rotation);
  EXPECT_THAT(text, HasSubstr("  next: zone ]0;moves  next: nothing\n")) << text;
  EXPECT_THAT(text, HasSubstr("waived by otto: lost [2J  not\n")) << text;
  admin::v1::ListKeyEventsResponse events;
  auto& event = *events.add_events();
  event.set_to("paused");
  event.set_by("otto\x1b[1m");
  event.set_note("zone\u009b moves");
  EXPECT_THAT(EventsText(events), HasSubstr("paused  (otto [1m)\n"));
  EXPECT_THAT(EventsText(events), HasSubstr("zone  moves"));
}

}  // namespace
}  // namespace hallmark::ctl
