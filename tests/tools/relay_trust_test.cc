#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "relay_server.h"
#include "tools/relay-client/relay_client.h"

// Whom the relay's client believes, and what.
namespace hallmark::relay {
namespace {

using namespace std::string_literals;

constexpr char kMessage[] = "From: a@example.com\r\n\r\nHello\r\n";

class RelayTrust : public testing::Test {
 protected:
  static Outcome Sign(Client& client) {
    Message message = client.Open({});
    message.Feed(kMessage);
    return client.Finish(std::move(message));
  }
  std::unique_ptr<Client> Connect(Settings settings) const {
    settings.servers = {server_.address()};
    auto connection = Client::Connect(settings);
    if (connection.failure) ADD_FAILURE() << connection.failure->message;
    return std::move(connection.client);
  }
  const RelayPki pki_;
  RelayServer server_{pki_};
};

TEST_F(RelayTrust, AServerOfAnotherCaOfTheSameNameIsNotSpokenTo) {
  const RelayPki other;
  Settings settings = pki_.settings({});
  settings.ca = other.path("ca.pem");
  const Outcome outcome = Sign(*Connect(settings));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->reason, "UNREACHABLE");
  EXPECT_TRUE(server_.seen().request_ids.empty());
  EXPECT_TRUE(Sign(*Connect(pki_.settings({})))) << "the CA is all that is wrong";
}

// The message that came first is answered last.
TEST_F(RelayTrust, EachMessageGetsItsOwnAnswer) {
  constexpr int kMessages = 10;
  std::atomic<int> arrived = 0, ended = 0;
  server_.change = [&](const auto& options, auto& response) {
    const bool first = arrived++ == 0;
    while (first && ended < kMessages - 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    response.mutable_signatures(0)->set_selector(options.request_id());
  };
  std::mutex mutex;
  std::map<std::string, std::string> selectors;  // by request_id
  auto client = Connect(pki_.settings({}));
  for (int i = 0; i < kMessages; ++i) {
    const std::string id = "message-" + std::to_string(i);
    Message message = client->Open({"", "", "", {}, id});
    message.Feed(kMessage);
    client->Finish(std::move(message), [&, id](const Outcome& outcome) {
      const std::lock_guard lock(mutex);
      selectors[id] = outcome ? outcome.signatures.at(0).selector : outcome.failure->reason;
      ++ended;
    });
  }
  client.reset();
  EXPECT_EQ(selectors.size(), static_cast<std::size_t>(kMessages));
  for (const auto& [id, selector] : selectors) EXPECT_EQ(selector, id);
}

TEST_F(RelayTrust, AnAnswerOfMoreThanFourMebibytesIsNotTaken) {
  server_.change = [](const auto&, auto& response) {
    response.mutable_signatures(0)->set_header_field("DKIM-Signature: v=1;\r\n b=" + std::string(5 << 20, 'A') +
                                                     "\r\n");
  };
  const Outcome outcome = Sign(*Connect(pki_.settings({})));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
  EXPECT_EQ(outcome.failure->reason, "INTERNAL");
}

TEST_F(RelayTrust, WhatIsNoSignatureFieldIsNoAnswer) {
  const auto client = Connect(pki_.settings({}));
  const auto answer = [&](const std::string& field) {
    server_.change = [&](const auto&, auto& response) { response.mutable_signatures(0)->set_header_field(field); };
    return Sign(*client);
  };
  for (const std::string& field :
       {"DKIM-Signature: v=1;\r\n\tb=AA==\r\n"s, "DKIM-Signature: v=1;\n b=AA==\n"s, "DKIM-Signature:v=1\r\n"s}) {
    EXPECT_TRUE(answer(field)) << testing::PrintToString(field);
  }
  for (const std::string& field : {""s, "\r\n"s, "Subject: x\r\n"s, "DKIM-Signature: v=1"s, "DKIM-Signature: v=1\r"s,
                                   "DKIM-Signature: v=1\r\n\r\n"s, "DKIM-Signature: v=1\r\n\r\nbody\r\n"s,
                                   "DKIM-Signature: v=1\n\nbody\n"s, "DKIM-Signature: v=1\r\nBcc: x@example.com\r\n"s,
                                   "DKIM-Signature: v=1\r b=\r\n"s, "DKIM-Signature: v=1;\0b=\r\n"s}) {
    const Outcome outcome = answer(field);
    ASSERT_FALSE(outcome) << testing::PrintToString(field);
    EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
    EXPECT_EQ(outcome.failure->reason, "INTERNAL");
    EXPECT_TRUE(outcome.signatures.empty());
  }
  server_.change = [](const auto&, auto& response) { response.clear_signatures(); };
  EXPECT_FALSE(Sign(*client)) << "the message would go out unsigned";
}

}  // namespace
}  // namespace hallmark::relay
