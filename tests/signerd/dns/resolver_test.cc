#include "signerd/dns/resolver.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "knot.h"

namespace hallmark::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

// Eight records of 250 octets at one name: too large for any UDP answer that the resolver asks for.
std::string LargeSet() {
  std::string zone;
  for (char c = 'a'; c < 'i'; ++c) zone += "large TXT " + Quoted(std::string(250, c)) + "\n";
  return zone;
}

std::string Zone() {
  return "short TXT \"v=DKIM1; k=ed25519; p=AA==\"\n"
         "long TXT " +
         Quoted(std::string(255, 'x')) + " " + Quoted(std::string(255, 'y')) + " " + Quoted("end") + "\n" +
         "two TXT \"one\"\ntwo TXT \"two\"\n"
         "empty TXT \"\"\n"
         "odd TXT \"a\\\"b\\000c\"\n"
         "address A 192.0.2.1\n"
         "alias CNAME short\n"
         "far CNAME target.other.test.\n"
         "dangling CNAME nowhere\n"
         "tree DNAME other.test.\n"
         "loop1 CNAME loop2\nloop2 CNAME loop1\n"
         "*.wild TXT \"any\"\n"
         "address AAAA 2001:db8::1\n"
         "@ MX 10 Mail.Example.TEST.\n@ MX 20 mail.other.test.\n"
         "null MX 0 .\n"
         "old SPF \"v=spf1 \" \"-all\"\n" +
         LargeSet();
}

class ResolverTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    port_ = Knot::FreePort();
    server_ = Knot::Start(kServer, port_,
                          {{.name = "example.test", .records = "@ NS ns.invalid.\n" + Zone()},
                           {.name = "other.test", .records = "@ NS ns.invalid.\ntarget TXT \"elsewhere\"\n"},
                           {.name = "broken.test", .primary = "127.0.1.8", .never_loads = true}});
  }
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override { ASSERT_NE(server_, nullptr) << "knotd does not start"; }

  Result<std::vector<std::string>> Lookup(const std::string& name) {
    ResolverOptions options;
    options.nameserver = Nameserver{kServer, port_};
    auto resolver = Resolver::Create(options);
    if (!resolver) return resolver.error();
    return resolver->LookupTxt(name);
  }
  Result<Answer> Ask(const std::string& name, RecordType type) {
    ResolverOptions options;
    options.nameserver = Nameserver{kServer, port_};
    auto resolver = Resolver::Create(options);
    if (!resolver) return resolver.error();
    return resolver->Lookup(name, type);
  }
  static constexpr char kServer[] = "127.0.1.1";
  static std::uint16_t port_;
  static std::unique_ptr<Knot> server_;
};
std::uint16_t ResolverTest::port_ = 0;
std::unique_ptr<Knot> ResolverTest::server_;

TEST_F(ResolverTest, FindsOneString) {
  EXPECT_THAT(*Lookup("short.example.test"), ElementsAre("v=DKIM1; k=ed25519; p=AA=="));
  EXPECT_THAT(*Lookup("short.example.test."), ElementsAre("v=DKIM1; k=ed25519; p=AA=="));
  EXPECT_THAT(*Lookup("SHORT.Example.TEST"), ElementsAre("v=DKIM1; k=ed25519; p=AA=="));
}

TEST_F(ResolverTest, JoinsStringsWithoutAnythingBetween) {
  EXPECT_THAT(*Lookup("long.example.test"), ElementsAre(std::string(255, 'x') + std::string(255, 'y') + "end"));
}

TEST_F(ResolverTest, KeepsEveryOctet) {
  EXPECT_THAT(*Lookup("odd.example.test"), ElementsAre(std::string("a\"b\0c", 5)));
  EXPECT_THAT(*Lookup("empty.example.test"), ElementsAre(""));
}

TEST_F(ResolverTest, GivesEveryRecord) { EXPECT_THAT(*Lookup("two.example.test"), UnorderedElementsAre("one", "two")); }

TEST_F(ResolverTest, AnswersFromAWildcard) { EXPECT_THAT(*Lookup("a.b.wild.example.test"), ElementsAre("any")); }

TEST_F(ResolverTest, FollowsAliases) {
  EXPECT_THAT(*Lookup("alias.example.test"), ElementsAre("v=DKIM1; k=ed25519; p=AA=="));
  EXPECT_THAT(*Lookup("far.example.test"), ElementsAre("elsewhere"));
}

TEST_F(ResolverTest, GivesRecordsOfOtherTypes) {
  EXPECT_THAT(Ask("address.example.test", RecordType::kA)->values, ElementsAre("192.0.2.1"));
  EXPECT_THAT(Ask("address.example.test", RecordType::kAaaa)->values, ElementsAre("2001:db8::1"));
  EXPECT_THAT(Ask("example.test", RecordType::kMx)->values,
              UnorderedElementsAre("mail.example.test", "mail.other.test"));
  EXPECT_THAT(Ask("null.example.test", RecordType::kMx)->values, ElementsAre(""));
  EXPECT_THAT(Ask("old.example.test", RecordType::kSpf)->values, ElementsAre("v=spf1 -all"));
}

TEST_F(ResolverTest, TellsNoNameFromNoRecord) {
  const auto no_record = Ask("address.example.test", RecordType::kTxt);
  ASSERT_TRUE(no_record);
  EXPECT_TRUE(no_record->values.empty());
  EXPECT_TRUE(no_record->exists);
  EXPECT_EQ(no_record->alias, "");
  const auto no_name = Ask("nothing.example.test", RecordType::kTxt);
  ASSERT_TRUE(no_name);
  EXPECT_FALSE(no_name->exists);
}

TEST_F(ResolverTest, SaysWhereAliasesLead) {
  EXPECT_EQ(Ask("far.example.test", RecordType::kTxt)->alias, "target.other.test");
  const auto dangling = Ask("dangling.example.test", RecordType::kTxt);
  ASSERT_TRUE(dangling);
  EXPECT_EQ(dangling->alias, "nowhere.example.test");
  EXPECT_FALSE(dangling->exists);
}

TEST_F(ResolverTest, SaysWhatADnameMakes) {
  const auto there = Ask("target.tree.example.test", RecordType::kTxt);
  ASSERT_TRUE(there);
  EXPECT_THAT(there->values, ElementsAre("elsewhere"));
  EXPECT_TRUE(there->by_dname);
  const auto gone = Ask("gone.tree.example.test", RecordType::kTxt);
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->alias, "gone.other.test");
  EXPECT_FALSE(gone->exists);
  EXPECT_TRUE(gone->by_dname);
  EXPECT_FALSE(Ask("far.example.test", RecordType::kTxt)->by_dname);
  EXPECT_FALSE(Ask("short.example.test", RecordType::kTxt)->by_dname);
}

TEST_F(ResolverTest, TruncatedAnswerComesOverTcp) {
  const auto values = Lookup("large.example.test");
  ASSERT_TRUE(values) << values.error().message;
  EXPECT_EQ(values->size(), 8u);
  for (const std::string& value : *values) EXPECT_EQ(value.size(), 250u);
}

TEST_F(ResolverTest, OneResolverAsksManyTimes) {
  ResolverOptions options;
  options.nameserver = Nameserver{kServer, port_};
  auto resolver = Resolver::Create(options);
  ASSERT_TRUE(resolver);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(resolver->LookupTxt("large.example.test")->size(), 8u);
    EXPECT_EQ(resolver->LookupTxt("nothing.example.test").error().reason, Reason::kNotFound);
    EXPECT_THAT(*resolver->LookupTxt("empty.example.test"), ElementsAre(""));
  }
}

struct ErrorCase {
  const char* name;
  std::string query;
  Reason reason;
  const char* says;
};
const ErrorCase kErrors[] = {
    {"NoSuchName", "nothing.example.test", Reason::kNotFound, "NXDOMAIN"},
    {"NoSuchType", "address.example.test", Reason::kNotFound, "no TXT record"},
    {"AliasToNothing", "dangling.example.test", Reason::kNotFound, "no TXT record"},
    {"AliasesInACircle", "loop1.example.test", Reason::kIoFailed, "loop"},
    {"ServerFails", "key.broken.test", Reason::kIoFailed, "SERVFAIL"},
    {"ServerRefuses", "key.foreign.test", Reason::kIoFailed, "REFUSED"},
    {"LabelTooLong", std::string(64, 'a') + ".example.test", Reason::kInvalidArgument, "no domain name"},
    {"Empty", "", Reason::kInvalidArgument, "no domain name"},
};
class ResolverError : public ResolverTest, public testing::WithParamInterface<ErrorCase> {};
TEST_P(ResolverError, IsNamed) {
  const auto values = Lookup(GetParam().query);
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().reason, GetParam().reason) << values.error().message;
  EXPECT_THAT(values.error().message, HasSubstr(GetParam().says));
}
INSTANTIATE_TEST_SUITE_P(Answers, ResolverError, testing::ValuesIn(kErrors),
                         [](const auto& row) { return std::string(row.param.name); });

// A UDP socket on a free loopback port.
class UdpSocket {
 public:
  UdpSocket() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0) return;
    if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0) port_ = ntohs(address.sin_port);
  }
  ~UdpSocket() { ::close(fd_); }
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;
  int fd() const { return fd_; }
  std::uint16_t port() const { return port_; }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

// Waits for one question and sends it back as an answer, changed by `change`.
void AnswerOne(int fd, const std::function<void(unsigned char*)>& change) {
  unsigned char packet[1500];
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  const ssize_t count = ::recvfrom(fd, packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &size);
  if (count < 12) return;
  packet[2] |= 0x80;  // an answer
  change(packet);
  ::sendto(fd, packet, static_cast<std::size_t>(count), 0, reinterpret_cast<sockaddr*>(&from), size);
}

Result<std::vector<std::string>> LookupOnce(std::uint16_t port) {
  ResolverOptions options;
  options.nameserver = Nameserver{"127.0.0.1", port};
  options.timeout = std::chrono::milliseconds(200);
  options.attempts = 1;
  auto resolver = Resolver::Create(options);
  if (!resolver) return resolver.error();
  return resolver->LookupTxt("short.example.test");
}

TEST(Resolver, GivesUpOnASilentServer) {
  const UdpSocket silent;
  const auto values = LookupOnce(silent.port());
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().reason, Reason::kIoFailed);
  EXPECT_THAT(values.error().message, HasSubstr("no answer for short.example.test. TXT"));
}

TEST(Resolver, AsksAgainAfterAServerWasSilent) {
  const UdpSocket server;
  ResolverOptions options;
  options.nameserver = Nameserver{"127.0.0.1", server.port()};
  options.timeout = std::chrono::milliseconds(200);
  options.attempts = 1;
  auto resolver = Resolver::Create(options);
  ASSERT_TRUE(resolver);
  EXPECT_EQ(resolver->LookupTxt("short.example.test").error().reason, Reason::kIoFailed);
  std::thread answering([&] {  // the question that went unanswered, then the next one
    for (int question = 0; question < 2; ++question)
      AnswerOne(server.fd(), [](unsigned char* packet) { packet[3] |= 3; });
  });
  const auto values = resolver->LookupTxt("short.example.test");
  answering.join();
  EXPECT_EQ(values.error().reason, Reason::kNotFound) << values.error().message;
}

TEST(Resolver, RefusesTheAnswerToAnotherQuestion) {
  const UdpSocket liar;
  std::thread answering([&] { AnswerOne(liar.fd(), [](unsigned char* packet) { packet[0] ^= 0xff; }); });
  const auto values = LookupOnce(liar.port());
  answering.join();
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().reason, Reason::kIoFailed);
}

TEST(Resolver, RefusesOptionsThatCannotWork) {
  ResolverOptions options;
  options.nameserver = Nameserver{"localhost", 53};
  EXPECT_EQ(Resolver::Create(options).error().reason, Reason::kInvalidArgument);
  options.nameserver = Nameserver{"127.0.0.1", 53};
  options.attempts = 0;
  EXPECT_EQ(Resolver::Create(options).error().reason, Reason::kInvalidArgument);
}

}  // namespace
}  // namespace hallmark::dns
