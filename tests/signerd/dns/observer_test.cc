#include "signerd/dns/observer.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "answers.h"
#include "firmware/runtime/file.h"
#include "knot.h"
#include "signerd/dns/exchange.h"
#include "signerd/dns/tsig_key.h"
#include "signerd/dns/update.h"

namespace hallmark::dns {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using Kind = ServerAnswer::Kind;

constexpr char kResolver[] = "127.0.1.9";
constexpr char kRecord[] = "v=DKIM1; p=one";

// A server that takes questions and never answers, at 127.0.1.7.
class SilentServer {
 public:
  explicit SilentServer(std::uint16_t port)
      : udp_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), tcp_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    ::inet_pton(AF_INET, "127.0.1.7", &at.sin_addr);
    EXPECT_EQ(::bind(udp_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::bind(tcp_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(tcp_.get(), 16), 0);
  }

 private:
  FileDescriptor udp_, tcp_;
};

std::string LargeSet() {
  std::string zone;
  for (char c = 'a'; c < 'i'; ++c) zone += "large TXT \"" + std::string(250, c) + "\"\n";
  return zone;
}

// ns1 and ns2 serve example.test; ns2 alone other.test, where keys may be delegated to, and _domainkey.deleg.test.
const std::string kExample =
    "@ NS ns1\n@ NS ns2\nns1 A 127.0.1.1\nns2 A 127.0.1.2\n"
    "sel._domainkey TXT \"v=DKIM1; p=one\"\n"
    "address A 192.0.2.1\n"
    "two TXT \"b\"\ntwo TXT \"a\"\n"
    "alias._domainkey 900 CNAME sel.example.test.dkim.other.test.\n"
    "chain CNAME chain2\nchain2 CNAME sel._domainkey\n"
    "dangling CNAME nothing.other.test.\n"
    "moved 1200 DNAME dkim.other.test.\n"
    "loop1 CNAME loop2\nloop2 CNAME loop1\n" +
    LargeSet();
const std::string kOther =
    "@ NS ns2\nns2 A 127.0.1.2\nsel.example.test.dkim TXT \"v=DKIM1; \" \"p=one\"\nx.dkim TXT \"v=DKIM1; p=one\"\n";
const std::string kDelegating = "@ NS ns1\nns1 A 127.0.1.1\n_domainkey NS ns.other.test.\n";
const std::string kDelegated = "@ NS ns.other.test.\nsel 600 TXT \"v=DKIM1; p=one\"\n";
const std::string kOtherWithNs = kOther + "ns A 127.0.1.2\n";
// Its servers disagree, each in another way.
const std::string kUneven = "@ NS ns1\n@ NS ns2\n@ NS ns3\nns1 A 127.0.1.1\nns2 A 127.0.1.2\nns3 A 127.0.1.3\n";

class ObserverTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    port_ = Knot::FreePort();
    const std::string bad =
        "@ NS ns1\n@ NS down\n@ NS silent\n@ NS lame\n@ NS nowhere\n@ NS ill\nns1 A 127.0.1.1\ndown A 127.0.1.8\n"
        "silent A 127.0.1.7\nlame A 127.0.1.2\nill A 127.0.1.3\nsel TXT \"v=DKIM1; p=one\"\n";
    const std::string six = "@ NS ns1\nns1 A 127.0.1.1\nns1 AAAA fe80::1\nsel TXT \"v=DKIM1; p=one\"\n";
    const auto with = [](const std::string& record) { return kUneven + record; };
    servers_[0] = Knot::Start("127.0.1.1", port_,
                              {{"example.test", kExample},
                               {"deleg.test", kDelegating},
                               {"bad.test", bad},
                               {"six.test", six},
                               {"lag.test", kUneven, "", {"127.0.1.2"}},
                               {"uneven.test", with("sel CNAME sel._domainkey.example.test.\n")}});
    servers_[1] = Knot::Start("127.0.1.2", port_,
                              {{"example.test", kExample},
                               {"other.test", kOtherWithNs},
                               {"_domainkey.deleg.test", kDelegated},
                               {"lag.test", "", "127.0.1.1"},
                               {"uneven.test", with("sel CNAME sel._domainkey.example.test.\n")}});
    servers_[2] = Knot::Start("127.0.1.3", port_,
                              {{"lag.test", "", "127.0.1.1"},
                               {"uneven.test", with("sel CNAME address.example.test.\nboth TXT \"here\"\n")},
                               {.name = "bad.test", .primary = "127.0.1.8", .never_loads = true}});
    resolver_ = Knot::Start(kResolver, port_,
                            {{"example.test", kExample},
                             {"other.test", kOtherWithNs},
                             {"deleg.test", kDelegating},
                             {"_domainkey.deleg.test", kDelegated},
                             {"bad.test", bad},
                             {"six.test", six},
                             {"lag.test", "", "127.0.1.1"},
                             {"uneven.test", kUneven}});
  }
  static void TearDownTestSuite() {
    resolver_.reset();
    for (auto& server : servers_) server.reset();
  }
  void SetUp() override {
    for (auto& server : servers_) ASSERT_NE(server, nullptr) << "knotd does not start";
    ASSERT_NE(resolver_, nullptr) << "knotd does not start";
  }

  static Result<Observation> Observe(const std::string& name,
                                     std::chrono::milliseconds timeout = std::chrono::seconds(5)) {
    ObserverOptions options;
    options.resolver = Nameserver{kResolver, port_};
    options.port = port_;
    options.timeout = timeout;
    options.attempts = 1;
    auto observer = Observer::Create(options);
    if (!observer) return observer.error();
    return observer->ObserveTxt(name);
  }

  static std::uint16_t port_;
  static std::unique_ptr<Knot> servers_[3], resolver_;
};
std::uint16_t ObserverTest::port_ = 0;
std::unique_ptr<Knot> ObserverTest::servers_[3], ObserverTest::resolver_;

std::vector<std::string> ServersOf(const Observation& observation) {
  std::vector<std::string> servers;
  for (const auto& answer : observation.servers) servers.push_back(answer.server);
  return servers;
}

// The answer of the server whose text begins so.
const ServerAnswer& Of(const Observation& observation, const std::string& server) {
  for (const auto& answer : observation.servers) {
    if (answer.server.starts_with(server)) return answer;
  }
  ADD_FAILURE() << server << " is not in the list";
  return observation.servers.front();
}

TEST_F(ObserverTest, AsksEveryServerOverBothTransports) {
  const auto seen = Observe("sel._domainkey.example.test");
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(seen->name, "sel._domainkey.example.test.");
  EXPECT_THAT(seen->aliases, IsEmpty());
  EXPECT_THAT(ServersOf(*seen),
              UnorderedElementsAre("ns1.example.test. 127.0.1.1 UDP", "ns1.example.test. 127.0.1.1 TCP",
                                   "ns2.example.test. 127.0.1.2 UDP", "ns2.example.test. 127.0.1.2 TCP"));
  EXPECT_TRUE(AllHave(*seen, kRecord));
  EXPECT_FALSE(AllHave(*seen, "another"));
  EXPECT_FALSE(AllHaveNone(*seen));
  EXPECT_EQ(seen->longest_ttl, std::chrono::seconds(300));
  EXPECT_EQ(seen->negative_ttl, std::chrono::seconds(1800));
  EXPECT_FALSE(seen->secure);
}

TEST_F(ObserverTest, NoRecordIsNone) {
  for (const char* name : {"nothing._domainkey.example.test", "address.example.test"}) {
    SCOPED_TRACE(name);
    const auto seen = Observe(name);
    ASSERT_TRUE(seen) << seen.error().message;
    EXPECT_TRUE(AllHaveNone(*seen));
    EXPECT_FALSE(AllHave(*seen, kRecord));
    EXPECT_EQ(seen->negative_ttl, std::chrono::seconds(1800));
  }
}

TEST_F(ObserverTest, SeveralRecordsAreNotTheOne) {
  const auto seen = Observe("two.example.test");
  ASSERT_TRUE(seen);
  EXPECT_THAT(seen->servers, Each(Field(&ServerAnswer::values, ElementsAre("a", "b"))));
  EXPECT_FALSE(AllHave(*seen, "a"));
}

TEST_F(ObserverTest, TruncatedAnswersAreAskedForOverTcp) {
  const auto seen = Observe("large.example.test");
  ASSERT_TRUE(seen);
  EXPECT_THAT(seen->servers, AllOf(SizeIs(4), Each(Field(&ServerAnswer::values, SizeIs(8)))));
  EXPECT_THAT(Of(*seen, "ns1.example.test. 127.0.1.1 UDP").detail, HasSubstr("truncated"));
}

TEST_F(ObserverTest, FollowsAnAliasToTheServersOfItsZone) {
  const auto seen = Observe("alias._domainkey.example.test");
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(seen->name, "sel.example.test.dkim.other.test.");
  EXPECT_THAT(seen->aliases, ElementsAre("alias._domainkey.example.test."));
  EXPECT_THAT(ServersOf(*seen), UnorderedElementsAre("ns2.other.test. 127.0.1.2 UDP", "ns2.other.test. 127.0.1.2 TCP"));
  EXPECT_TRUE(AllHave(*seen, kRecord));
  EXPECT_EQ(seen->longest_ttl, std::chrono::seconds(900)) << "the alias's own TTL counts";
}

TEST_F(ObserverTest, FollowsSeveralAliasesInOneZone) {
  const auto seen = Observe("chain.example.test");
  ASSERT_TRUE(seen);
  EXPECT_THAT(seen->aliases, ElementsAre("chain.example.test.", "chain2.example.test."));
  EXPECT_TRUE(AllHave(*seen, kRecord));
}

TEST_F(ObserverTest, FollowsDname) {
  const auto seen = Observe("x.moved.example.test");
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(seen->name, "x.dkim.other.test.");
  EXPECT_TRUE(AllHave(*seen, kRecord));
  EXPECT_EQ(seen->longest_ttl, std::chrono::seconds(1200));
}

TEST_F(ObserverTest, FollowsADelegationOfTheWholeZone) {
  const auto seen = Observe("sel._domainkey.deleg.test");
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_THAT(ServersOf(*seen), UnorderedElementsAre("ns.other.test. 127.0.1.2 UDP", "ns.other.test. 127.0.1.2 TCP"));
  EXPECT_TRUE(AllHave(*seen, kRecord));
  EXPECT_EQ(seen->longest_ttl, std::chrono::seconds(600));
}

TEST_F(ObserverTest, AliasToNothingIsNone) {
  const auto seen = Observe("dangling.example.test");
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->name, "nothing.other.test.");
  EXPECT_TRUE(AllHaveNone(*seen));
}

TEST_F(ObserverTest, AliasesInACircleAreAnError) {
  const auto seen = Observe("loop1.example.test");
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(seen.error().message, HasSubstr("circle"));
}

TEST_F(ObserverTest, ServersThatDisagreeAboutAnAliasAreNamed) {
  const auto seen = Observe("sel.uneven.test");
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(seen->name, "sel._domainkey.example.test.");
  EXPECT_FALSE(AllHave(*seen, kRecord));
  const ServerAnswer& other = Of(*seen, "ns3.uneven.test. 127.0.1.3 UDP");
  EXPECT_EQ(other.kind, Kind::kNone);
  EXPECT_THAT(other.detail,
              AllOf(HasSubstr("an alias to address.example.test."), HasSubstr("sel._domainkey.example.test.")));
  EXPECT_EQ(Of(*seen, "ns1.example.test. 127.0.1.1 UDP").kind, Kind::kRecord);
}

TEST_F(ObserverTest, RecordThatOnlyOneServerHasIsNotThereEverywhere) {
  const auto seen = Observe("both.uneven.test");
  ASSERT_TRUE(seen);
  EXPECT_EQ(Of(*seen, "ns3.uneven.test.").kind, Kind::kRecord);
  EXPECT_EQ(Of(*seen, "ns1.uneven.test.").kind, Kind::kNone);
  EXPECT_FALSE(AllHave(*seen, "here"));
  EXPECT_FALSE(AllHaveNone(*seen));
}

TEST_F(ObserverTest, WhatEachBadServerDoesIsSaid) {
  const SilentServer silent(port_);
  const auto seen = Observe("sel.bad.test", std::chrono::milliseconds(500));
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_FALSE(AllHave(*seen, kRecord));
  EXPECT_EQ(Of(*seen, "ns1.bad.test. 127.0.1.1 UDP").kind, Kind::kRecord);
  struct Case {
    const char* server;
    const char* says;
  };
  for (const Case& row :
       {Case{"down.bad.test. 127.0.1.8 UDP", "UDP: Connection refused"},
        Case{"down.bad.test. 127.0.1.8 TCP", "TCP: Connection refused"},
        Case{"silent.bad.test. 127.0.1.7 UDP", "no answer in time"},
        Case{"silent.bad.test. 127.0.1.7 TCP", "no answer in time"}, Case{"lame.bad.test. 127.0.1.2 UDP", "REFUSED"},
        Case{"ill.bad.test. 127.0.1.3 TCP", "SERVFAIL"}, Case{"nowhere.bad.test.", "has no address"}}) {
    SCOPED_TRACE(row.server);
    const ServerAnswer& answer = Of(*seen, row.server);
    EXPECT_EQ(answer.kind, Kind::kSilent);
    EXPECT_THAT(answer.detail, HasSubstr(row.says));
  }
}

TEST_F(ObserverTest, AddressesWithoutARouteAreLeftOutWhereThereAreOthers) {
  ASSERT_FALSE(HasRoute({"fe80::1", port_})) << "an address of a link, without the link";
  const auto seen = Observe("sel.six.test");
  ASSERT_TRUE(seen);
  EXPECT_THAT(ServersOf(*seen), UnorderedElementsAre("ns1.six.test. 127.0.1.1 UDP", "ns1.six.test. 127.0.1.1 TCP"));
  EXPECT_TRUE(AllHave(*seen, kRecord));
}

TEST_F(ObserverTest, SecondaryThatLagsIsSeen) {
  UpdaterOptions options;
  options.server = {"127.0.1.1", port_};
  options.key = ParseTsigKey(kWriter512.secret, kWriter512.name, kWriter512.algorithm).value();
  auto updater = Updater::Create(std::move(options));
  const Status put = updater->PutTxt("sel._domainkey.lag.test", kRecord, 60, {});
  ASSERT_TRUE(put) << put.error().message;
  // ns2 is notified and has it soon; ns3 is not.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  auto seen = Observe("sel._domainkey.lag.test");
  while (seen && Of(*seen, "ns2").kind != Kind::kRecord && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    seen = Observe("sel._domainkey.lag.test");
  }
  ASSERT_TRUE(seen) << seen.error().message;
  for (const char* server : {"ns1.lag.test. 127.0.1.1 UDP", "ns2.lag.test. 127.0.1.2 UDP"}) {
    EXPECT_THAT(Of(*seen, server).values, ElementsAre(kRecord));
  }
  EXPECT_EQ(Of(*seen, "ns3.lag.test. 127.0.1.3 UDP").kind, Kind::kNone);
  EXPECT_FALSE(AllHave(*seen, kRecord));
}

TEST_F(ObserverTest, ResolverThatDoesNotKnowIsUnavailable) {
  const auto foreign = Observe("sel.foreign.test");
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(foreign.error().message, HasSubstr("REFUSED"));
  EXPECT_EQ(Observe("").error().reason, Reason::kInvalidArgument);
  EXPECT_EQ(Observe(std::string(64, 'a') + ".test").error().reason, Reason::kInvalidArgument);
}

TEST(Observer, OptionsAreChecked) {
  ObserverOptions options;
  options.resolver = Nameserver{"127.0.0.1", 53};
  options.attempts = 0;
  EXPECT_EQ(Observer::Create(options).error().reason, Reason::kInvalidArgument);
  options.attempts = 1;
  options.trust_anchor = "/nonexistent/anchor";
  EXPECT_EQ(Observer::Create(options).error().reason, Reason::kNotFound);
}

}  // namespace
}  // namespace hallmark::dns
