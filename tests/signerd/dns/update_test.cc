#include "signerd/dns/update.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "firmware/runtime/file.h"
#include "knot.h"
#include "signerd/dns/exchange.h"
#include "signerd/dns/message.h"
#include "signerd/dns/tsig_key.h"

namespace hallmark::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr char kServer[] = "127.0.1.1";
constexpr char kName[] = "sel._domainkey.example.test";

class UpdateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    port_ = Knot::FreePort();
    const std::string records =
        "@ NS ns1\nns1 A 127.0.1.1\n"
        "foreign._domainkey TXT \"v=DKIM1; p=theirs\"\n"
        "mixed._domainkey TXT \"theirs\"\nmixed._domainkey TXT \"mine\"\n"
        "cut._domainkey TXT \"v=DKIM1; \" \"p=mine\"\n"
        "alias._domainkey CNAME elsewhere.invalid.\n"
        "moved._domainkey DNAME elsewhere.invalid.\n"
        "*.wild TXT \"v=spf1 -all\"\n*.wildalias CNAME elsewhere.invalid.\n"
        "far NS ns.invalid.\n";
    knot_ = Knot::Start(kServer, port_,
                        {{"example.test", records},
                         {"deep.example.test", "@ NS ns1.example.test.\n"},
                         {.name = "ill.test", .primary = "127.0.1.8", .never_loads = true}});
  }
  static void TearDownTestSuite() { knot_.reset(); }
  void SetUp() override { ASSERT_NE(knot_, nullptr) << "knotd does not start"; }

  static Updater Make(const KnotKey& key = kWriter256, const char* secret = nullptr) {
    UpdaterOptions options;
    options.server = {kServer, port_};
    options.key = ParseTsigKey(secret ? secret : key.secret, key.name, key.algorithm).value();
    return std::move(Updater::Create(std::move(options)).value());
  }

  // What is at the name, by a question of its own; TTL in front.
  static std::vector<std::string> At(const std::string& name) {
    const auto parsed = ParseName(name);
    const Question question{
        {kServer, port_}, Question::Transport::kTcp, MakeQuery(parsed->get(), LDNS_RR_TYPE_TXT, Asking::kServer)};
    const auto wire = Exchange({&question, 1}, std::chrono::seconds(5), 1).front();
    const auto answer = ParseUsableAnswer(question.message, wire.value());
    std::vector<std::string> values;
    for (const ldns_rr* record : Select(ldns_pkt_answer(answer->get()), parsed->get(), LDNS_RR_TYPE_TXT)) {
      values.push_back(std::to_string(ldns_rr_ttl(record)) + " " + TxtValue(record));
    }
    return values;
  }

  static std::uint16_t port_;
  static std::unique_ptr<Knot> knot_;
};
std::uint16_t UpdateTest::port_ = 0;
std::unique_ptr<Knot> UpdateTest::knot_;

#define EXPECT_OK(expression)                      \
  do {                                             \
    const Status status = (expression);            \
    EXPECT_TRUE(status) << status.error().message; \
  } while (false)

TEST_F(UpdateTest, PutsReplacesAndRemoves) {
  for (const KnotKey& key : {kWriter256, kWriter512}) {
    SCOPED_TRACE(key.name);
    Updater updater = Make(key);
    EXPECT_OK(updater.PutTxt(kName, "v=DKIM1; p=one", 60, {}));
    EXPECT_THAT(At(kName), ElementsAre("60 v=DKIM1; p=one"));
    const std::vector<std::string> ours{"v=DKIM1; p=one"};
    EXPECT_OK(updater.PutTxt(kName, "v=DKIM1; p=", 90, ours));
    EXPECT_THAT(At(kName), ElementsAre("90 v=DKIM1; p="));
    EXPECT_OK(updater.RemoveTxt(kName, std::vector<std::string>{"v=DKIM1; p="}));
    EXPECT_THAT(At(kName), IsEmpty());
  }
}

TEST_F(UpdateTest, IsIdempotent) {
  Updater updater = Make();
  const std::string name = "twice._domainkey.example.test";
  EXPECT_OK(updater.RemoveTxt(name, {}));
  for (int i = 0; i < 3; ++i) EXPECT_OK(updater.PutTxt(name, "mine", 60, {}));
  EXPECT_THAT(At(name), ElementsAre("60 mine"));
  EXPECT_OK(updater.PutTxt(name, "mine", 120, {}));
  EXPECT_THAT(At(name), ElementsAre("120 mine"));
  for (int i = 0; i < 2; ++i) EXPECT_OK(updater.RemoveTxt(name, std::vector<std::string>{"mine"}));
  EXPECT_THAT(At(name), IsEmpty());
}

TEST_F(UpdateTest, LongValuesAreCutAndComeBackWhole) {
  Updater updater = Make();
  for (const std::size_t size : {0u, 255u, 256u, 1000u, 20'000u}) {
    const std::string name = "long" + std::to_string(size) + ".example.test";
    const std::string value(size, 'x');
    EXPECT_OK(updater.PutTxt(name, value, 60, {}));
    EXPECT_THAT(At(name), ElementsAre("60 " + value));
    EXPECT_OK(updater.RemoveTxt(name, {&value, 1}));
    EXPECT_THAT(At(name), IsEmpty());
  }
  EXPECT_EQ(updater.PutTxt("x.example.test", std::string(70'000, 'x'), 60, {}).error().reason,
            Reason::kInvalidArgument);
}

TEST_F(UpdateTest, RecordThatSomeoneCutOtherwiseIsStillOurs) {
  const std::vector<std::string> ours{"v=DKIM1; p=mine"};
  EXPECT_OK(Make().PutTxt("cut._domainkey.example.test", "new", 60, ours));
  EXPECT_THAT(At("cut._domainkey.example.test"), ElementsAre("60 new"));
}

TEST_F(UpdateTest, ForeignRecordsAreNeverTouched) {
  Updater updater = Make();
  const std::vector<std::string> ours{"mine"};
  struct Case {
    const char* name;
    const char* says;
  };
  for (const Case& row :
       {Case{"foreign._domainkey.example.test", "p=theirs"}, Case{"mixed._domainkey.example.test", "theirs"},
        Case{"alias._domainkey.example.test", "alias to elsewhere.invalid."},
        Case{"x.moved._domainkey.example.test", "DNAME"}}) {
    SCOPED_TRACE(row.name);
    const auto before = At(row.name);
    for (const Status& status : {updater.PutTxt(row.name, "new", 60, ours), updater.RemoveTxt(row.name, ours)}) {
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().reason, Reason::kRecordConflict) << status.error().message;
      EXPECT_THAT(status.error().message, HasSubstr(row.says));
    }
    EXPECT_EQ(At(row.name), before);
  }
}

TEST_F(UpdateTest, WildcardIsNoRecordOfTheName) {
  Updater updater = Make();
  const std::vector<std::string> ours{"mine"};
  for (const std::string name : {"a.wild.example.test", "a.wildalias.example.test"}) {
    SCOPED_TRACE(name);
    EXPECT_OK(updater.RemoveTxt(name, ours));
    EXPECT_OK(updater.PutTxt(name, "mine", 60, {}));
    EXPECT_THAT(At(name), ElementsAre("60 mine"));
    EXPECT_OK(updater.RemoveTxt(name, ours));
  }
  EXPECT_THAT(At("b.wild.example.test"), ElementsAre("300 v=spf1 -all"));
}

TEST_F(UpdateTest, OfTwoThatWantTheSameNameOneWins) {
  for (int round = 0; round < 20; ++round) {
    const std::string name = "race" + std::to_string(round) + ".example.test";
    Status first = Ok(), second = Ok();
    std::thread other([&] { second = Make().PutTxt(name, "second", 60, {}); });
    first = Make().PutTxt(name, "first", 60, {});
    other.join();
    ASSERT_NE(first.has_value(), second.has_value()) << "round " << round;
    EXPECT_THAT(At(name), ElementsAre(first ? "60 first" : "60 second"));
    EXPECT_EQ((first ? second : first).error().reason, Reason::kRecordConflict);
  }
}

TEST_F(UpdateTest, TheDeepestZoneIsUpdated) {
  EXPECT_OK(Make().PutTxt("sel.deep.example.test", "mine", 60, {}));
  EXPECT_THAT(At("sel.deep.example.test"), ElementsAre("60 mine"));
}

TEST_F(UpdateTest, WhatTheServerRefusesIsSaid) {
  UpdaterOptions unsigned_options;
  unsigned_options.server = {kServer, port_};
  Updater nobody = std::move(Updater::Create(std::move(unsigned_options)).value());
  struct Case {
    const char* title;
    Status status;
    const char* says;
  };
  const Case kCases[] = {
      {"wrong secret", Make(kWriter256, kWriter512.secret).PutTxt(kName, "x", 60, {}), "BADSIG"},
      {"unknown key", Make({"nobody", "hmac-sha256", kWriter256.secret}).PutTxt(kName, "x", 60, {}), "BADKEY"},
      {"key of another algorithm", Make({"writer512", "hmac-sha256", kWriter512.secret}).PutTxt(kName, "x", 60, {}),
       "BADKEY"},
      {"key without the right", Make(kReader).PutTxt(kName, "x", 60, {}), "\"reader\""},
      {"no key", nobody.PutTxt(kName, "x", 60, {}), "clients without a key"},
      {"zone of another server", Make().PutTxt("sel.elsewhere.test", "x", 60, {}), "not authoritative"},
      {"delegated zone", Make().PutTxt("sel.far.example.test", "x", 60, {}), "not authoritative"},
  };
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.title);
    ASSERT_FALSE(row.status);
    EXPECT_EQ(row.status.error().reason, Reason::kDnsRefused) << row.status.error().message;
    EXPECT_THAT(row.status.error().message, HasSubstr(row.says));
    EXPECT_THAT(row.status.error().message, Not(HasSubstr(kWriter512.secret)));
  }
  EXPECT_THAT(At(kName), IsEmpty());
}

TEST_F(UpdateTest, KeyThatMayOnlyWriteKeyRecordsIsEnough) {
  Updater updater = Make(kNarrow);
  const std::string name = "narrow._domainkey.example.test";
  EXPECT_OK(updater.PutTxt(name, "one", 60, {}));
  EXPECT_OK(updater.PutTxt(name, "two", 60, std::vector<std::string>{"one"}));
  EXPECT_OK(updater.RemoveTxt(name, std::vector<std::string>{"two"}));
  const Status elsewhere = updater.PutTxt("www.example.test", "x", 60, {});
  ASSERT_FALSE(elsewhere);
  EXPECT_EQ(elsewhere.error().reason, Reason::kDnsRefused);
}

TEST_F(UpdateTest, ClockThatIsWrongIsSaid) {
  struct Case {
    const char* clock;
    const char* says;
  };
  for (const Case& row : {Case{"+3600", "ahead of this host's"}, Case{"-3600", "behind this host's"}}) {
    SCOPED_TRACE(row.clock);
    const auto wrong = Knot::Start("127.0.1.4", port_, {{"example.test", "@ NS ns1\nns1 A 127.0.1.4\n"}}, row.clock);
    ASSERT_NE(wrong, nullptr) << "knotd does not start";
    UpdaterOptions options;
    options.server = {"127.0.1.4", port_};
    options.key = ParseTsigKey(kWriter256.secret, kWriter256.name, kWriter256.algorithm).value();
    const Status status = Updater::Create(std::move(options))->PutTxt(kName, "x", 60, {});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().reason, Reason::kDnsRefused);
    EXPECT_THAT(status.error().message, testing::ContainsRegex("BADTIME: the server's clock is 3[56][0-9][0-9] s "));
    EXPECT_THAT(status.error().message, HasSubstr(row.says));
  }
}

TEST_F(UpdateTest, NamesAndOptionsAreChecked) {
  Updater updater = Make();
  EXPECT_EQ(updater.PutTxt("", "x", 60, {}).error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(updater.RemoveTxt(std::string(64, 'a') + ".test", {}).error().reason, Reason::kInvalidArgument);
  UpdaterOptions options;
  options.server = {"localhost", 53};
  EXPECT_EQ(Updater::Create(std::move(options)).error().reason, Reason::kInvalidArgument);
}

TEST_F(UpdateTest, ServerWithoutAUsableAnswerIsUnavailable) {
  const Status ill = Make().PutTxt("sel.ill.test", "x", 60, {});
  ASSERT_FALSE(ill);
  EXPECT_EQ(ill.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(ill.error().message, HasSubstr("SERVFAIL"));

  UpdaterOptions options;
  options.server = {"127.0.1.8", port_};
  options.timeout = std::chrono::milliseconds(300);
  Updater updater = std::move(Updater::Create(std::move(options)).value());
  const Status absent = updater.PutTxt(kName, "x", 60, {});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(absent.error().message, HasSubstr("the server 127.0.1.8: TCP: Connection refused"));

  // It takes the connection and says nothing.
  const FileDescriptor silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port_);
  ::inet_pton(AF_INET, "127.0.1.8", &at.sin_addr);
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::listen(silent.get(), 8), 0);
  const Status unanswered = updater.RemoveTxt(kName, {});
  ASSERT_FALSE(unanswered);
  EXPECT_EQ(unanswered.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(unanswered.error().message, HasSubstr("no answer in time"));
}

}  // namespace
}  // namespace hallmark::dns
