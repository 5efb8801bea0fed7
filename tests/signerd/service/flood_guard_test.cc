#include "signerd/service/flood_guard.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>

#include <cerrno>
#include <string_view>

#include "connect.h"
#include "signerd/service/acceptor.h"

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

constexpr std::uint64_t kMostCalls = 50;

// HTTP/2, as far as a flood needs it.
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"sv;
constexpr std::string_view kFields =  // of a POST to /a/b at x
    "\x83\x86\x04\x04/a/b\x01\x01x\x0f\x10\x10"
    "application/grpc\0\2te\x08trailers"sv;

std::string Call(std::uint32_t stream) {
  std::string frame{0, 0, static_cast<char>(kFields.size()), 1, 4, 0, 0};
  frame += {static_cast<char>(stream >> 8), static_cast<char>(stream)};
  return frame.append(kFields);
}

// Of this machine; nothing when it has none.
std::optional<sockaddr_in6> LinkLocalAddress() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return std::nullopt;
  std::optional<sockaddr_in6> found;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET6) continue;
    const auto& address = reinterpret_cast<const sockaddr_in6&>(*one->ifa_addr);
    if (IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) found = address;
  }
  ::freeifaddrs(all);
  return found;
}

void SpinFor(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) continue;
}

// Before a server that answers no call.
class FloodGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> taker =
        builder.experimental().AddExternalConnectionAcceptor(
            grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials());
    builder.RegisterAsyncGenericService(&service_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    ASSERT_TRUE(server_);
    serving_ = std::jthread([this] {
      void* tag = nullptr;
      bool ok = false;
      while (queue_->Next(&tag, &ok)) continue;
    });
    auto bound = Acceptor::Bind("0.0.0.0:0");
    ASSERT_TRUE(bound) << bound.error().message;
    acceptor_ = std::move(*bound);
    acceptor_->Start(
        [taker](FileDescriptor connection) {
          grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
          parameters.fd = connection.Release();
          taker->HandleNewConnection(&parameters);
        },
        nobody_, 100);
    guard_.emplace(acceptor_->port(), kMostCalls, kept_out_);
  }
  void TearDown() override {
    guard_.reset();
    acceptor_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
    queue_->Shutdown();
  }

  static bool HasEnded(const FileDescriptor& connection) {
    char octets[4096];
    ssize_t read = 0;
    while ((read = ::recv(connection.get(), octets, sizeof octets, MSG_DONTWAIT)) > 0) continue;
    return read == 0 || errno != EAGAIN;
  }

  // Whether it is ended in time while ever more calls are made on it. The guard sleeps while the process is idle.
  static bool IsEndedForItsCalls(const FileDescriptor& connection) {
    std::string octets(kPreface);
    std::uint32_t stream = 1;
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!HasEnded(connection) && std::chrono::steady_clock::now() < deadline) {
      for (int i = 0; i < 30; ++i, stream += 2) octets += Call(stream);
      (void)::send(connection.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
      octets.clear();
      SpinFor(20ms);
    }
    return HasEnded(connection);
  }

  // The guard keeps it out after it has ended the connection; for a second, of which `before` is not behind its end.
  bool IsKeptOutInTime(const std::string& network, std::chrono::steady_clock::time_point before) const {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!kept_out_.Has(network, before)) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::jthread serving_;
  KeptOut nobody_, kept_out_;  // the acceptor's, the guard's: whoever is kept out comes back all the same
  std::unique_ptr<Acceptor> acceptor_;
  std::optional<FloodGuard> guard_;
};

TEST_F(FloodGuardTest, EndsAFloodAndKeepsItsNetworkOut) {
  for (const auto& [address, network] : {std::pair(kFour, "127.0.0.1"), std::pair("::1", "::/64")}) {
    const auto before = std::chrono::steady_clock::now();
    EXPECT_TRUE(IsEndedForItsCalls(Connect(address, acceptor_->port()))) << address;
    EXPECT_TRUE(IsKeptOutInTime(network, before)) << address;
  }
}

// gRPC's name for such a connection also has the interface.
TEST_F(FloodGuardTest, EndsAFloodFromALinkLocalAddress) {
  auto address = LinkLocalAddress();
  if (!address) GTEST_SKIP() << "there is no such address";
  address->sin6_port = htons(acceptor_->port());
  EXPECT_TRUE(IsEndedForItsCalls(Connect(*address)));
}

TEST_F(FloodGuardTest, EndsAFloodBesideASilentConnectionFromTheSamePortToAnotherAddress) {
  const FileDescriptor silent = Connect(kFour, acceptor_->port());
  const FileDescriptor flood = Connect("::ffff:127.0.0.2", acceptor_->port(), OwnPort(silent));
  EXPECT_TRUE(IsEndedForItsCalls(flood));
  EXPECT_FALSE(HasEnded(silent));
}

TEST_F(FloodGuardTest, EndsTheNextFloodFromTheSamePortThatComesAtOnce) {
  FileDescriptor flood = Connect(kFour, acceptor_->port());
  const std::uint16_t from = OwnPort(flood);
  ASSERT_TRUE(IsEndedForItsCalls(flood));
  const linger at_once{1, 0};
  ASSERT_EQ(::setsockopt(flood.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
  flood.Reset();
  EXPECT_TRUE(IsEndedForItsCalls(Connect(kFour, acceptor_->port(), from)));
}

}  // namespace
}  // namespace hallmark::service
