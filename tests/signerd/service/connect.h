#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

#include "firmware/runtime/file.h"

namespace hallmark::service {

constexpr const char* kFour = "::ffff:127.0.0.1";

// `from`: the own port, from which others may be connected elsewhere; 0: a free one. Empty when it is refused.
inline FileDescriptor Connect(const sockaddr_in6& to, std::uint16_t from = 0) {
  FileDescriptor client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  EXPECT_EQ(::setsockopt(client.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  sockaddr_in6 own{};
  own.sin6_family = AF_INET6;
  own.sin6_port = htons(from);
  EXPECT_EQ(::bind(client.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) client.Reset();
  return client;
}

inline FileDescriptor Connect(const char* address, std::uint16_t port, std::uint16_t from = 0) {
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET6, address, &to.sin6_addr), 1);
  return Connect(to, from);
}

inline std::uint16_t OwnPort(const FileDescriptor& connection) {
  sockaddr_in6 own{};
  socklen_t size = sizeof own;
  EXPECT_EQ(::getsockname(connection.get(), reinterpret_cast<sockaddr*>(&own), &size), 0);
  return ntohs(own.sin6_port);
}

}  // namespace hallmark::service
