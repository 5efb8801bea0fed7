#include "signerd/service/memory_guard.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>
#include <vector>

#include <unistd.h>

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMost = 256 << 20;

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(descriptor_); }
  int get() const { return descriptor_; }

 private:
  const int descriptor_;
};

class MemoryGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::size_t before = ::mallinfo2().hblkhd;
    const std::vector<char> block(8 << 20, 1);
    if (::mallinfo2().hblkhd < before + block.size()) GTEST_SKIP() << "the allocator is not glibc's";
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    ASSERT_EQ(::bind(listener_.get(), Address(), size), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener_.get(), Address(), &size), 0);
  }
  sockaddr* Address() { return reinterpret_cast<sockaddr*>(&address_); }

  // Whether a connection that sends all the time is ended while so much is allocated, for that long at most.
  bool IsEndedWith(std::size_t octets, std::chrono::seconds most) {
    const Socket client(::socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(::connect(client.get(), Address(), sizeof address_), 0);
    const Socket server(::accept(listener_.get(), nullptr, nullptr));
    const std::vector<char> block(octets, 1);
    std::vector<char> piece(32 << 10, 'x');
    const auto deadline = std::chrono::steady_clock::now() + most;
    while (std::chrono::steady_clock::now() < deadline) {
      if (::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL) <= 0) return true;
      if (::recv(server.get(), piece.data(), piece.size(), MSG_WAITALL) <= 0) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }

  sockaddr_in address_{};
  const Socket listener_{::socket(AF_INET, SOCK_STREAM, 0)};
};

TEST_F(MemoryGuardTest, EndsTheConnectionThatFillsTheMemoryAndTheNextOneThatDoesAsMuch) {
  const MemoryGuard guard(ntohs(address_.sin_port), kMost);
  EXPECT_FALSE(IsEndedWith(kMost / 8, 2s));
  EXPECT_TRUE(IsEndedWith(kMost + (64 << 20), 60s));
  std::this_thread::sleep_for(2s);  // nothing tells that the guard has seen that there is room again
  EXPECT_TRUE(IsEndedWith(kMost + (63 << 20), 60s));
}

}  // namespace
}  // namespace hallmark::service
