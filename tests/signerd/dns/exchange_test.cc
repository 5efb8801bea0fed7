#include "signerd/dns/exchange.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <thread>

#include "firmware/runtime/file.h"

namespace hallmark::dns {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// A socket on a free port of 127.0.0.1, listening where it is a stream.
class Server {
 public:
  explicit Server(int type) : socket_(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    EXPECT_TRUE(type != SOCK_STREAM || ::listen(socket_.get(), 8) == 0);
    address_ = {"127.0.0.1", ntohs(at.sin_port)};
  }
  const Nameserver& address() const { return address_; }
  FileDescriptor Accept() const { return FileDescriptor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
  // The next datagram, and a way to answer it.
  Bytes Receive(sockaddr_in& from) const {
    Bytes datagram(2000);
    socklen_t size = sizeof from;
    const ssize_t got =
        ::recvfrom(socket_.get(), datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    datagram.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return datagram;
  }
  void Send(const Bytes& datagram, const sockaddr_in& to) const {
    ::sendto(socket_.get(), datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }

 private:
  FileDescriptor socket_;
  Nameserver address_;
};

Bytes Message(std::uint8_t id) { return {0x12, id, 0x00, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 16, 0, 1}; }
Bytes AnswerTo(Bytes message) {
  message[2] |= 0x80;
  return message;
}

Result<Bytes> Ask(const Server& server, Question::Transport transport, milliseconds timeout, unsigned attempts = 1) {
  const Question question{server.address(), transport, Message(1)};
  return Exchange({&question, 1}, timeout, attempts).front();
}

TEST(Exchange, ForgedDatagramsArePassedOver) {
  const Server server(SOCK_DGRAM);
  std::thread answering([&] {
    sockaddr_in from{};
    const Bytes question = server.Receive(from);
    for (std::uint8_t id = 2; id < 100; ++id) server.Send(AnswerTo(Message(id)), from);
    server.Send(question, from);                          // not an answer
    server.Send({question[0], question[1], 0x80}, from);  // no message
    server.Send(AnswerTo(question), from);
  });
  const auto answer = Ask(server, Question::Transport::kUdp, std::chrono::seconds(30));
  answering.join();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(*answer, AnswerTo(Message(1)));
}

TEST(Exchange, DatagramThatWasLostIsSentAgain) {
  const Server server(SOCK_DGRAM);
  std::thread answering([&] {
    sockaddr_in from{};
    server.Receive(from);
    server.Send(AnswerTo(server.Receive(from)), from);
  });
  const auto answer = Ask(server, Question::Transport::kUdp, milliseconds(300), 100);
  answering.join();
  EXPECT_TRUE(answer) << answer.error().message;
}

TEST(Exchange, ServerThatSendsOctetByOctetForEverIsLeft) {
  const Server server(SOCK_STREAM);
  std::thread dribbling([&] {
    const FileDescriptor connection = server.Accept();
    const std::uint8_t length[] = {0xff, 0xff};
    ::send(connection.get(), length, sizeof length, MSG_NOSIGNAL);
    const std::uint8_t octet = 0x80;
    // Until the other side has gone.
    while (::send(connection.get(), &octet, 1, MSG_NOSIGNAL) == 1) std::this_thread::sleep_for(milliseconds(20));
  });
  const auto answer = Ask(server, Question::Transport::kTcp, milliseconds(300));
  dribbling.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, Reason::kDnsUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("in time"));
}

TEST(Exchange, AnswerOverTcpMayComeInPieces) {
  const Server server(SOCK_STREAM);
  Bytes large = AnswerTo(Message(1));
  large.resize(60'000, 7);
  std::thread answering([&] {
    const FileDescriptor connection = server.Accept();
    Bytes stream{static_cast<std::uint8_t>(large.size() >> 8), static_cast<std::uint8_t>(large.size())};
    stream.insert(stream.end(), large.begin(), large.end());
    stream.push_back(9);  // what follows is no part of it
    for (const std::uint8_t octet : {stream[0], stream[1], stream[2]})
      ::send(connection.get(), &octet, 1, MSG_NOSIGNAL);
    ::send(connection.get(), stream.data() + 3, stream.size() - 3, MSG_NOSIGNAL);
    std::uint8_t rest[64];
    while (::recv(connection.get(), rest, sizeof rest, 0) > 0) continue;
  });
  const auto answer = Ask(server, Question::Transport::kTcp, std::chrono::seconds(30));
  answering.join();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(*answer, large);
}

TEST(Exchange, WhatATcpServerDoesWrongIsSaid) {
  struct Case {
    const char* title;
    Bytes stream;
    const char* says;
  };
  for (const Case& row : {Case{"closes at once", {}, "closed the connection"},
                          Case{"closes halfway", {0, 19, 0x12}, "closed the connection"},
                          Case{"empty message", {0, 0}, "another question"},
                          Case{"another id", {0, 12, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "another question"}}) {
    SCOPED_TRACE(row.title);
    const Server server(SOCK_STREAM);
    std::thread answering([&] {
      const FileDescriptor connection = server.Accept();
      std::uint8_t question[64];  // closing with something unread would reset the connection
      [[maybe_unused]] const ssize_t read = ::recv(connection.get(), question, sizeof question, 0);
      ::send(connection.get(), row.stream.data(), row.stream.size(), MSG_NOSIGNAL);
    });
    const auto answer = Ask(server, Question::Transport::kTcp, std::chrono::seconds(30));
    answering.join();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().reason, Reason::kDnsUnavailable);
    EXPECT_THAT(answer.error().message, HasSubstr(row.says));
  }
}

TEST(Exchange, OneSilentServerDoesNotCostTheAnswerOfAnother) {
  const Server silent(SOCK_DGRAM), lively(SOCK_DGRAM);
  std::thread answering([&] {
    sockaddr_in from{};
    lively.Send(AnswerTo(lively.Receive(from)), from);
  });
  const Question questions[] = {{silent.address(), Question::Transport::kUdp, Message(1)},
                                {lively.address(), Question::Transport::kUdp, Message(2)},
                                {{"not an address", 53}, Question::Transport::kTcp, Message(3)},
                                {lively.address(), Question::Transport::kUdp, {}}};
  const auto answers = Exchange(questions, milliseconds(500), 1);
  answering.join();
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_FALSE(answers[0]);
  EXPECT_TRUE(answers[1]);
  EXPECT_THAT(answers[2].error().message, HasSubstr("no IP address"));
  EXPECT_THAT(answers[3].error().message, HasSubstr("no DNS message"));
}

TEST(Exchange, NoQuestionHasMoreTimeThanThereIsLeft) {
  using std::chrono::hours;
  const auto now = std::chrono::steady_clock::now();
  EXPECT_EQ(TimeLeft(std::chrono::steady_clock::time_point::max(), hours(1), 2), hours(1));
  EXPECT_EQ(TimeLeft(now + hours(4), hours(1), 2), hours(1));
  EXPECT_LE(TimeLeft(now + hours(4), hours(100), 2), hours(2)) << "for both attempts together";
  EXPECT_EQ(TimeLeft(now - hours(4), hours(1), 2), hours(0));
}

}  // namespace
}  // namespace hallmark::dns
