#include "signerd/service/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "connect.h"
#include "signerd/service/peer_address.h"
#include "taken.h"

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

class AcceptorTest : public testing::Test {
 protected:
  void Start(const std::string& listen = "127.0.0.1:0", std::size_t most = 100) {
    auto bound = Acceptor::Bind(listen);
    ASSERT_TRUE(bound) << bound.error().message;
    acceptor_ = std::move(*bound);
    acceptor_->Start([this](FileDescriptor connection) { taken_.Take(std::move(connection)); }, kept_out_, most);
  }

  // Whoever connects again and again, within 20 s.
  bool IsTakenInTime() {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < deadline) {
      const FileDescriptor client = Connect(kFour, acceptor_->port());
      if (taken_.Next(100ms)) return true;
    }
    return false;
  }

  // Whoever connects now. The kernel makes the connection by itself; the reset may be there before connect() returns.
  bool IsReset() const {
    const FileDescriptor client = Connect(kFour, acceptor_->port());
    char octet = 0;
    return (!client || ::recv(client.get(), &octet, 1, 0) == -1) && errno == ECONNRESET;
  }

  KeptOut kept_out_;
  Taken taken_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, HandsOverWhatDoesNotBlockNorOutlivesExec) {
  Start();
  const FileDescriptor client = Connect(kFour, acceptor_->port());
  const FileDescriptor taken = taken_.Next(10s);
  ASSERT_TRUE(taken);
  const int connection = taken.get();
  EXPECT_NE(::fcntl(connection, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(connection, F_GETFD) & FD_CLOEXEC, 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  ASSERT_EQ(::getsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
  EXPECT_EQ(no_delay, 1);
  unsigned unacknowledged_ms = 0;
  size = sizeof unacknowledged_ms;
  ASSERT_EQ(::getsockopt(connection, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, &size), 0);
  EXPECT_EQ(unacknowledged_ms, 20'000u);
  const auto peer = PeerAddressOf(connection);
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->host, "127.0.0.1");
  EXPECT_EQ(peer->network, "127.0.0.1");
}

TEST_F(AcceptorTest, WhoeverIsKeptOutIsResetAndTakenLater) {
  Start();
  kept_out_.Add("127.0.0.1", std::chrono::steady_clock::now());
  EXPECT_TRUE(IsReset());
  EXPECT_FALSE(taken_.Next(1ms));
  EXPECT_TRUE(IsTakenInTime());
}

TEST_F(AcceptorTest, WhoeverHasAsManyAsAreStillFreeIsRefusedUntilOneEnds) {
  Start("[::]:0", 4);
  std::vector<FileDescriptor> clients, taken;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(Connect(kFour, acceptor_->port()));
    taken.push_back(taken_.Next(10s));
    ASSERT_TRUE(taken.back());
  }
  EXPECT_TRUE(IsReset());
  const FileDescriptor other = Connect("::1", acceptor_->port());
  EXPECT_TRUE(taken_.Next(10s));
  taken.pop_back();
  EXPECT_TRUE(IsTakenInTime());
}

// As many connections may come from one port as the machine has addresses.
TEST_F(AcceptorTest, ThoseFromOnePortToSeveralAddressesCountOneByOne) {
  Start("0.0.0.0:0", 4);
  const FileDescriptor first = Connect(kFour, acceptor_->port());
  const FileDescriptor second = Connect("::ffff:127.0.0.2", acceptor_->port(), OwnPort(first));
  const FileDescriptor taken[] = {taken_.Next(10s), taken_.Next(10s)};
  ASSERT_TRUE(taken[0] && taken[1]);
  const FileDescriptor refused = Connect(kFour, acceptor_->port());
  EXPECT_FALSE(taken_.Next(300ms));
}

TEST_F(AcceptorTest, EitherWildcardTakesBoth) {
  for (const char* wildcard : {"0.0.0.0:0", "[::]:0"}) {
    Start(wildcard);
    const FileDescriptor four = Connect(kFour, acceptor_->port()), six = Connect("::1", acceptor_->port());
    EXPECT_TRUE(four && six) << wildcard;
    EXPECT_TRUE(taken_.Next(10s) && taken_.Next(10s)) << wildcard;
  }
}

TEST_F(AcceptorTest, ANameIsAllThatItStandsFor) {
  Start("localhost:0");
  EXPECT_TRUE(Connect(kFour, acceptor_->port()));
  EXPECT_TRUE(taken_.Next(10s));
}

TEST_F(AcceptorTest, HeldItLetsThemWait) {
  Start();
  acceptor_->Hold(true);
  const FileDescriptor client = Connect(kFour, acceptor_->port());
  EXPECT_TRUE(client);
  EXPECT_FALSE(taken_.Next(300ms));
  acceptor_->Hold(false);
  EXPECT_TRUE(taken_.Next(10s));
  acceptor_->Hold(true);
  acceptor_->Stop();
}

TEST_F(AcceptorTest, AfterStopNobodyConnects) {
  Start();
  acceptor_->Stop();
  EXPECT_FALSE(Connect(kFour, acceptor_->port()));
  acceptor_->Stop();
}

TEST_F(AcceptorTest, SaysWhyItCannotListen) {
  Start();
  const auto in_use = Acceptor::Bind("127.0.0.1:" + std::to_string(acceptor_->port()));
  ASSERT_FALSE(in_use);
  EXPECT_EQ(in_use.error().reason, Reason::kConfigInvalid);
  EXPECT_NE(in_use.error().message.find("Address already in use"), std::string::npos) << in_use.error().message;
  const auto foreign = Acceptor::Bind("192.0.2.1:0");
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("192.0.2.1:0"), std::string::npos) << foreign.error().message;
  EXPECT_FALSE(Acceptor::Bind("no-such-host.invalid:0"));
}

TEST_F(AcceptorTest, WithoutADescriptorLeftConnectionsWait) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UndefinedBehaviorSanitizer looks at objects through a pipe, for which there is no descriptor either";
#endif
  Start();
  const FileDescriptor client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{static_cast<rlim_t>(client.get()) + 1, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(acceptor_->port());
  ASSERT_EQ(::inet_pton(AF_INET6, kFour, &to.sin6_addr), 1);
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  EXPECT_FALSE(taken_.Next(300ms));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(taken_.Next(10s));
}

TEST(PeerAddress, NoneOfWhatIsNoConnection) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(PeerAddressOf(socket.get()));
  EXPECT_FALSE(PeerAddressOf(-1));
}

// Of which a host may choose as many addresses as it likes.
TEST(PeerAddress, OfIpv6ItsNetwork) {
  auto acceptor = Acceptor::Bind("[::1]:0");
  ASSERT_TRUE(acceptor) << acceptor.error().message;
  const FileDescriptor client = Connect("::1", (*acceptor)->port());
  const auto peer = PeerAddressOf(client.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->host, "::1");
  EXPECT_EQ(peer->port, (*acceptor)->port());
  EXPECT_EQ(peer->network, "::/64");
}

}  // namespace
}  // namespace hallmark::service
