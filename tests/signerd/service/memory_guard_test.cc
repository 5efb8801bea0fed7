#include "signerd/service/memory_guard.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "taken.h"

namespace hallmark::service {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMost = 256 << 20;
constexpr std::size_t kMostConnections = 100;

class MemoryGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto allocated = [] { return ::mallinfo2().uordblks + ::mallinfo2().hblkhd; };
    const std::size_t before = allocated();
    const std::vector<char> block(8 << 20, 1);
    if (allocated() < before + block.size()) GTEST_SKIP() << "the allocator is not glibc's";
    auto bound = Acceptor::Bind("127.0.0.1:0");
    ASSERT_TRUE(bound) << bound.error().message;
    acceptor_ = std::move(*bound);
    acceptor_->Start([this](FileDescriptor connection) { taken_.Take(std::move(connection)); }, kept_out_,
                     kMostConnections);
  }

  FileDescriptor Connect() const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(acceptor_->port());
    FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return client;
  }

  // Whether a connection that sends all the time is ended while so much is allocated, for that long at most.
  bool IsEndedWith(std::size_t octets, std::chrono::seconds most) {
    const FileDescriptor client = Connect(), server = taken_.Next(10s);
    const std::vector<char> block(octets, 1);
    std::vector<char> piece(32 << 10, 'x');
    const auto deadline = std::chrono::steady_clock::now() + most;
    while (std::chrono::steady_clock::now() < deadline) {
      if (::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL) <= 0) return true;
      ssize_t read = 0;
      while ((read = ::recv(server.get(), piece.data(), piece.size(), 0)) > 0) continue;
      if (read == 0 || errno != EAGAIN) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }

  Taken taken_;
  FileDescriptor client_;
  KeptOut kept_out_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(MemoryGuardTest, EndsTheConnectionThatFillsTheMemoryAndTheNextOneThatDoesAsMuch) {
  const MemoryGuard guard(*acceptor_, kMost, 2 * kMost);
  EXPECT_FALSE(IsEndedWith(kMost / 8, 2s));
  EXPECT_TRUE(IsEndedWith(kMost + (64 << 20), 60s));
  std::this_thread::sleep_for(2s);  // nothing tells that the guard has seen that there is room again
  EXPECT_TRUE(IsEndedWith(kMost + (63 << 20), 60s));
}

TEST_F(MemoryGuardTest, NoConnectionsAreTakenWhileThereIsTooMuch) {
  const MemoryGuard guard(*acceptor_, kMost, kMost);
  {
    const std::vector<char> block(kMost + (64 << 20), 1);
    // It has still to see how much there is.
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    do client_ = Connect();
    while (taken_.Next(1s) && std::chrono::steady_clock::now() < deadline);
    EXPECT_FALSE(taken_.Next(1s));
  }
  EXPECT_TRUE(taken_.Next(60s));
}

// A policy of a million domains, say, that came after the start.
TEST_F(MemoryGuardTest, WhatStaysIsTheDaemonsOwnAndWhatComesOnTopIsNot) {
  const MemoryGuard guard(*acceptor_, kMost, kMost);
  const auto connection_waits = [&] {
    std::this_thread::sleep_for(2s);  // nothing tells what the guard has seen
    client_ = Connect();
    return !taken_.Next(1s);
  };
  const std::size_t too_much = kMost + (64 << 20);
  {
    const std::vector<char> own(too_much, 1);
    EXPECT_TRUE(connection_waits());
    EXPECT_TRUE(taken_.Next(60s));
    {
      const std::vector<char> more(too_much, 1);
      EXPECT_TRUE(connection_waits());
    }
    EXPECT_TRUE(taken_.Next(60s));
    EXPECT_FALSE(connection_waits());
  }
  EXPECT_FALSE(connection_waits());
  const std::vector<char> again(too_much, 1);
  EXPECT_TRUE(connection_waits());
}

}  // namespace
}  // namespace hallmark::service
