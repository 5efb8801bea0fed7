#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fake_signerd.h"
#include "firmware/runtime/file.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "relay_server.h"
#include "tcp_proxy.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kMessage[] = "From: a@example.com\r\n\r\nHello\r\n";
constexpr char kNobody[] = "127.0.0.1:1";

std::unique_ptr<Client> Connect(const Settings& settings) {
  auto connection = Client::Connect(settings);
  if (connection.failure) ADD_FAILURE() << connection.failure->message;
  return std::move(connection.client);
}

Outcome Sign(Client& client, MessageOptions options = {}, std::string_view text = kMessage) {
  Message message = client.Open(std::move(options));
  message.Feed(text);
  return client.Finish(std::move(message));
}

// The message is to be tried again: that server may sign it.
void ExpectUnreachable(const Outcome& outcome, const std::string& address) {
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
  EXPECT_EQ(outcome.failure->reason, "UNREACHABLE");
  EXPECT_THAT(outcome.failure->message, HasSubstr(address));
}

// A refusal that says when to come back.
grpc::Status Later(const std::string& reason, std::chrono::milliseconds when) {
  google::rpc::Status status;
  const grpc::Status plain = Refusal(grpc::StatusCode::UNAVAILABLE, reason, "not now");
  status.ParseFromString(plain.error_details());
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(when.count() / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<std::int32_t>(when.count() % 1000 * 1'000'000));
  status.add_details()->PackFrom(retry);
  return {plain.error_code(), plain.error_message(), status.SerializeAsString()};
}

// It stands as long as the call does, as one does that waits for a disk: its network and its health service answer.
grpc::Status Silence(grpc::ServerContext& context) {
  while (!context.IsCancelled()) std::this_thread::sleep_for(5ms);
  return grpc::Status::CANCELLED;
}

// Waits until the client sees its servers so.
void AwaitReady(Client& client, const std::vector<bool>& ready) {
  for (const auto end = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < end;) {
    std::vector<bool> seen;
    for (const ServerHealth& health : client.Health()) seen.push_back(health.ready);
    if (seen == ready) return;
    std::this_thread::sleep_for(5ms);
  }
  FAIL() << "the servers' health did not become what it should";
}

// Signs until this server is called with a certificate of that name.
void AwaitCaller(Client& client, RelayServer& server, const std::string& name) {
  for (const auto end = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < end;) {
    EXPECT_TRUE(Sign(client));
    const auto callers = server.seen().callers;
    if (!callers.empty() && callers.back() == name) return;
    std::this_thread::sleep_for(20ms);
  }
  FAIL() << name << " did not call";
}

class RelayClient : public testing::Test {
 protected:
  RelayPki pki_;
};

TEST_F(RelayClient, GivesWhatTheServerGave) {
  RelayServer server(pki_);
  const auto client = Connect(pki_.settings({server.address()}));
  const Outcome outcome =
      Sign(*client, {"d.example", "acme", "a@example.com", {"b@example.org", "c@example.org"}, "id1"});
  ASSERT_TRUE(outcome) << outcome.failure->message;
  ASSERT_EQ(outcome.signatures.size(), 1u);
  EXPECT_EQ(outcome.signatures[0].header_field, "DKIM-Signature: v=1;\r\n b=AA==\r\n");
  EXPECT_EQ(outcome.signatures[0].selector, "s1");
  EXPECT_EQ(outcome.signatures[0].algorithm, "rsa-sha256");
  EXPECT_EQ(outcome.signing_domain, "example.com");
  ASSERT_EQ(outcome.warnings.size(), 1u);
  EXPECT_EQ(outcome.warnings[0].code, "LONG_LINE");

  const auto seen = server.seen();
  ASSERT_EQ(seen.digests.size(), 1u);
  EXPECT_EQ(seen.digests[0].header(), "From: a@example.com\r\n\r\n");
  EXPECT_EQ(seen.digests[0].body_canonicalization(), signing::v1::CANONICALIZATION_RELAXED);
  EXPECT_EQ(seen.digests[0].body_length(), 7u);
  EXPECT_EQ(seen.digests[0].body_facts().octets(), 7u);
  const auto& options = seen.digests[0].options();
  EXPECT_EQ(options.signing_domain(), "d.example");
  EXPECT_EQ(options.partner(), "acme");
  EXPECT_EQ(options.envelope_sender(), "a@example.com");
  EXPECT_THAT(options.envelope_recipients(), ElementsAre("b@example.org", "c@example.org"));
  EXPECT_EQ(options.request_id(), "id1");
}

TEST_F(RelayClient, EnvelopesThatAreNotUtf8ArriveAllTheSame) {
  RelayServer server(pki_);
  const auto client = Connect(pki_.settings({server.address()}));
  EXPECT_TRUE(
      Sign(*client, {"", "", "j\xf6rg\xc3\xb6@example.com", {"\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xe2\x82"}, ""}));
  const auto options = server.seen().digests.at(0).options();
  EXPECT_EQ(options.envelope_sender(), "j?rg\xc3\xb6@example.com");
  EXPECT_THAT(options.envelope_recipients(), ElementsAre("???????????"));
}

TEST_F(RelayClient, AWholeMessageTravelsWhereThatIsAskedFor) {
  RelayServer server(pki_);
  Settings settings = pki_.settings({server.address()});
  settings.send_message = true;
  const auto client = Connect(settings);
  EXPECT_TRUE(Sign(*client));
  // More than what every signerd takes in one request goes in chunks.
  const std::string most = kMessage + std::string(65536 - std::string_view(kMessage).size(), 'x');
  EXPECT_TRUE(Sign(*client, {}, most));
  const std::string large = kMessage + std::string(3'000'000, 'x');
  EXPECT_TRUE(Sign(*client, {}, most + "x"));
  EXPECT_TRUE(Sign(*client, {"", "", "", {}, "large"}, large));
  const auto seen = server.seen();
  EXPECT_TRUE(seen.messages == (std::vector<std::string>{kMessage, most}));
  EXPECT_TRUE(seen.large_messages == (std::vector<std::string>{most + "x", large}));
  EXPECT_EQ(seen.request_ids.back(), "large");
}

TEST_F(RelayClient, ServersTakeTurns) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(one.seen().digests.size(), 5u);
  EXPECT_EQ(two.seen().digests.size(), 5u);
  const auto ids = one.seen().request_ids;
  EXPECT_EQ(ids[0].size(), 32u);
  EXPECT_NE(ids[0], ids[1]);
}

TEST_F(RelayClient, AServerThatIsGoneIsPassedOverUntilItIsBack) {
  auto one = std::make_unique<RelayServer>(pki_);
  RelayServer two(pki_);
  const int port = one->port();
  const auto client = Connect(pki_.settings({one->address(), two.address()}));
  AwaitReady(*client, {true, true});
  one.reset();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(two.seen().digests.size(), 10u);
  one = std::make_unique<RelayServer>(pki_, port);
  AwaitReady(*client, {true, true});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(one->seen().digests.size(), 5u);
}

TEST_F(RelayClient, AServerThatCannotSignIsPassedOverUntilItCan) {
  RelayServer one(pki_), two(pki_);
  one.SetServing(false);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {false, true});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(one.seen().digests.size(), 0u);
  one.SetServing(true);
  AwaitReady(*client, {true, true});
  two.SetServing(false);
  AwaitReady(*client, {true, false});
  EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(one.seen().digests.size(), 1u);
}

TEST_F(RelayClient, AMessageWaitsForAServerThatIsJustBeingStarted) {
  RelayServer server(pki_);
  server.SetServing(false);
  const auto client = Connect(pki_.settings({server.address()}));
  AwaitReady(*client, {false});
  std::thread later([&] {
    std::this_thread::sleep_for(500ms);
    server.SetServing(true);
  });
  EXPECT_TRUE(Sign(*client));
  later.join();
}

TEST_F(RelayClient, WhereNobodyAnswersTheMessageIsGivenBackBeforeItsTime) {
  const auto client = Connect(pki_.settings({kNobody}));
  const Outcome outcome = Sign(*client);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
  EXPECT_EQ(outcome.failure->reason, "UNREACHABLE");
  EXPECT_THAT(outcome.failure->message, HasSubstr(kNobody));
  EXPECT_THAT(outcome.failure->message, HasSubstr("Connection refused"));
}

TEST_F(RelayClient, WhereNobodyCanSignTheMessageIsGivenBackBeforeItsTime) {
  RelayServer server(pki_);
  server.SetServing(false);
  const auto client = Connect(pki_.settings({server.address()}));
  const Outcome outcome = Sign(*client);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->reason, "UNREACHABLE");
  EXPECT_THAT(outcome.failure->message, HasSubstr("cannot sign now"));
  EXPECT_EQ(server.seen().digests.size(), 0u);
}

TEST_F(RelayClient, AServerOfAnotherNameIsNotSpokenTo) {
  RelayServer server(pki_);
  Settings settings = pki_.settings({server.address()});
  settings.server_name = "other.example";
  const Outcome outcome = Sign(*Connect(settings));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->reason, "UNREACHABLE");
  EXPECT_EQ(server.seen().digests.size(), 0u);
}

TEST_F(RelayClient, AMessageOnANetworkThatIsCutGoesToAnotherServer) {
  RelayServer one(pki_), two(pki_);
  TcpProxy network(one.port());
  const auto client = Connect(pki_.settings({network.address(), two.address()}));
  AwaitReady(*client, {true, true});
  network.Cut();
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(one.seen().digests.size(), 0u);
  EXPECT_EQ(two.seen().digests.size(), 4u);
  AwaitReady(*client, {false, true});
}

TEST_F(RelayClient, WhatIsUnavailableHereIsAskedForThereUnderTheSameId) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  one.answer = [](grpc::ServerContext&) { return Later("TOKEN_DOWN", 1h); };
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(two.seen().digests.size(), 4u);
  ASSERT_FALSE(one.seen().request_ids.empty());
  EXPECT_THAT(two.seen().request_ids, testing::IsSupersetOf(one.seen().request_ids));
}

TEST_F(RelayClient, TheOnlyServerIsAskedAgainWhenItSaid) {
  RelayServer server(pki_);
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> calls;
  server.answer = [&](grpc::ServerContext&) {
    const std::lock_guard lock(mutex);
    calls.push_back(std::chrono::steady_clock::now());
    return calls.size() < 3 ? Later("LEDGER_UNAVAILABLE", 300ms) : grpc::Status::OK;
  };
  EXPECT_TRUE(Sign(*Connect(pki_.settings({server.address()}))));
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_GE(calls[1] - calls[0], 290ms);
  EXPECT_GE(calls[2] - calls[1], 290ms);
  const auto ids = server.seen().request_ids;
  EXPECT_THAT(ids, ElementsAre(ids[0], ids[0], ids[0]));
}

TEST_F(RelayClient, AMessageIsGivenBackAtOnceWhenItsTimeWouldBeOverBefore) {
  RelayServer server(pki_);
  server.answer = [](grpc::ServerContext&) { return Later("PIN_REJECTED", 1h); };
  const Outcome outcome = Sign(*Connect(pki_.settings({server.address()})));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
  EXPECT_EQ(outcome.failure->reason, "PIN_REJECTED");
  EXPECT_EQ(outcome.failure->message, "not now");
  EXPECT_EQ(outcome.failure->retry_after, std::chrono::milliseconds(1h));
  EXPECT_EQ(server.seen().request_ids.size(), 1u);
}

TEST_F(RelayClient, WhatTheServerSaidLastIsToldWhenItIsGoneSince) {
  RelayServer server(pki_);
  const auto client = Connect(pki_.settings({server.address()}));
  AwaitReady(*client, {true});
  server.answer = [&](grpc::ServerContext&) {
    server.SetServing(false);
    return Later("TOKEN_DOWN", 100ms);
  };
  const Outcome outcome = Sign(*client);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->reason, "TOKEN_DOWN");
}

TEST_F(RelayClient, AServerThatDoesNotAnswerCostsNoMoreThanTheTimeLimit) {
  RelayServer server(pki_);
  server.answer = Silence;
  Settings settings = pki_.settings({server.address()});
  settings.timeout = 3s;
  const auto client = Connect(settings);
  AwaitReady(*client, {true});
  const Outcome outcome = Sign(*client);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
  EXPECT_EQ(outcome.failure->reason, "TIMEOUT");
}

TEST_F(RelayClient, AServerThatStaysSilentLeavesTimeForAnotherAndIsLeftInPeace) {
  RelayServer one(pki_), two(pki_);
  Settings settings = pki_.settings({one.address(), two.address()});
  settings.timeout = 10s;
  const auto client = Connect(settings);
  AwaitReady(*client, {true, true});
  one.answer = Silence;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(two.seen().request_ids.size(), 4u);
  ASSERT_EQ(one.seen().request_ids.size(), 1u);
  EXPECT_THAT(two.seen().request_ids, testing::Contains(one.seen().request_ids.front()));
  pki_.IssueRelay("new.test");
  AwaitCaller(*client, two, "new.test");
  AwaitReady(*client, {true, true});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Sign(*client));
  EXPECT_EQ(one.seen().request_ids.size(), 1u);
}

TEST_F(RelayClient, WhatMayBeTheTroubleOfOneServerIsAskedOfAnother) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  const std::pair<grpc::StatusCode, const char*> rows[] = {
      {grpc::StatusCode::FAILED_PRECONDITION, "DOMAIN_NOT_CONFIGURED"},
      {grpc::StatusCode::FAILED_PRECONDITION, "NO_ACTIVE_KEY"},
      {grpc::StatusCode::FAILED_PRECONDITION, "KEY_MISSING"},
      {grpc::StatusCode::FAILED_PRECONDITION, "KEY_MISMATCH"},
      {grpc::StatusCode::FAILED_PRECONDITION, "TOKEN_REFUSED"},
      {grpc::StatusCode::INTERNAL, "SIGNATURE_INVALID"},
      {grpc::StatusCode::PERMISSION_DENIED, "CALLER_UNKNOWN"},
  };
  for (const auto& [code, reason] : rows) {
    one.answer = [code = code, reason = reason](grpc::ServerContext&) { return Refusal(code, reason, "here"); };
    // They take turns, so that both of them are asked first once.
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(Sign(*client)) << reason;
  }
  EXPECT_EQ(two.seen().request_ids.size(), 2 * std::size(rows));
  EXPECT_THAT(two.seen().request_ids, testing::IsSupersetOf(one.seen().request_ids));
}

// What both refuse is refused, and what one cannot do for now is not for the other to refuse.
TEST_F(RelayClient, OfTwoRefusalsTroubleOfASignersIsTold) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  struct Row {
    const char *here, *there, *told;
    grpc::StatusCode code = grpc::StatusCode::FAILED_PRECONDITION;  // there
  };
  const Row rows[] = {
      {"DOMAIN_NOT_CONFIGURED", "DOMAIN_NOT_CONFIGURED", "DOMAIN_NOT_CONFIGURED"},
      {"DOMAIN_NOT_CONFIGURED", "KEY_MISSING", "KEY_MISSING"},
      {"DOMAIN_NOT_CONFIGURED", "TOKEN_DOWN", "TOKEN_DOWN", grpc::StatusCode::UNAVAILABLE},
  };
  for (const Row& row : rows) {
    one.answer = [&](grpc::ServerContext&) { return Refusal(grpc::StatusCode::FAILED_PRECONDITION, row.here, "here"); };
    two.answer = [&](grpc::ServerContext&) { return Refusal(row.code, row.there, "there"); };
    for (int i = 0; i < 2; ++i) {
      const std::size_t asked = one.seen().request_ids.size() + two.seen().request_ids.size();
      const Outcome outcome = Sign(*client);
      ASSERT_FALSE(outcome);
      EXPECT_EQ(outcome.failure->reason, row.told);
      EXPECT_EQ(one.seen().request_ids.size() + two.seen().request_ids.size(), asked + 2);
    }
  }
}

grpc::Status NotConfigured(grpc::ServerContext&) {
  return Refusal(grpc::StatusCode::FAILED_PRECONDITION, "DOMAIN_NOT_CONFIGURED", "not here");
}

TEST_F(RelayClient, ADomainThatOneServerDoesNotKnowWaitsForAnotherThatIsBeingStartedAgain) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  one.answer = NotConfigured;
  two.SetServing(false);
  AwaitReady(*client, {true, false});
  std::thread later([&] {
    std::this_thread::sleep_for(500ms);
    two.SetServing(true);
  });
  const Outcome outcome = Sign(*client);
  EXPECT_TRUE(outcome) << outcome.failure->message;
  later.join();
}

TEST_F(RelayClient, WhatAServerThatLeftLatelyMaySignIsNotRefusedByAnother) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  one.answer = NotConfigured;
  two.SetServing(false);
  AwaitReady(*client, {true, false});
  const Outcome outcome = Sign(*client);
  ExpectUnreachable(outcome, two.address());
  EXPECT_THAT(outcome.failure->message, HasSubstr("DOMAIN_NOT_CONFIGURED"));
}

TEST_F(RelayClient, AServerThatLeftLatelyIsRememberedWhenTheCertificateIsReplaced) {
  RelayServer one(pki_), two(pki_);
  const auto client = Connect(pki_.settings({one.address(), two.address()}));
  AwaitReady(*client, {true, true});
  two.SetServing(false);
  AwaitReady(*client, {true, false});
  pki_.IssueRelay("new.test");
  AwaitCaller(*client, one, "new.test");
  one.answer = NotConfigured;
  const Outcome outcome = Sign(*client);
  ExpectUnreachable(outcome, two.address());
}

// As one that has not heard of the certificate yet.
TEST_F(RelayClient, AServerThatDoesNotTakeTheNewCertificateIsRememberedFromTheOldOne) {
  RelayServer one(pki_), two(pki_);
  TcpProxy network(two.port());
  const auto client = Connect(pki_.settings({one.address(), network.address()}));
  AwaitReady(*client, {true, true});
  network.TakeNoMore();
  pki_.IssueRelay("new.test");
  AwaitCaller(*client, one, "new.test");
  one.answer = NotConfigured;
  const Outcome outcome = Sign(*client);
  ExpectUnreachable(outcome, network.address());
}

TEST_F(RelayClient, AServerThatWasNeverThereKeepsNoRefusalBack) {
  RelayServer one(pki_);
  one.answer = NotConfigured;
  const auto client = Connect(pki_.settings({one.address(), kNobody}));
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = Sign(*client);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.failure->kind, FailureKind::kRefused);
    EXPECT_EQ(outcome.failure->reason, "DOMAIN_NOT_CONFIGURED");
  }
}

TEST_F(RelayClient, OnlyUnavailableIsTriedAgainAndEveryFailureHasItsKind) {
  struct Row {
    grpc::StatusCode code;
    const char* reason;
    FailureKind kind;
  };
  using enum grpc::StatusCode;
  const Row rows[] = {
      {RESOURCE_EXHAUSTED, "RATE_EXCEEDED", FailureKind::kLimited},
      {RESOURCE_EXHAUSTED, "DAILY_VOLUME_EXCEEDED", FailureKind::kLimited},
      {PERMISSION_DENIED, "RECIPIENTS_EXCEEDED", FailureKind::kRefused},
      {RESOURCE_EXHAUSTED, "OVERLOADED", FailureKind::kUnavailable},
      {DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", FailureKind::kUnavailable},
      {INTERNAL, "INTERNAL", FailureKind::kUnavailable},
      {INTERNAL, "SIGNATURE_INVALID", FailureKind::kUnavailable},
      {PERMISSION_DENIED, "CALLER_UNKNOWN", FailureKind::kUnavailable},
      {PERMISSION_DENIED, "CERTIFICATE_REVOKED", FailureKind::kUnavailable},
      {FAILED_PRECONDITION, "NO_ACTIVE_KEY", FailureKind::kUnavailable},
      {FAILED_PRECONDITION, "KEY_MISSING", FailureKind::kUnavailable},
      {FAILED_PRECONDITION, "KEY_MISMATCH", FailureKind::kUnavailable},
      {FAILED_PRECONDITION, "TOKEN_REFUSED", FailureKind::kUnavailable},
      {FAILED_PRECONDITION, "DOMAIN_NOT_CONFIGURED", FailureKind::kRefused},
      {PERMISSION_DENIED, "DOMAIN_NOT_ALLOWED", FailureKind::kRefused},
      {PERMISSION_DENIED, "PARTNER_SUSPENDED", FailureKind::kRefused},
      {INVALID_ARGUMENT, "FROM_MISSING", FailureKind::kRefused},
      {INVALID_ARGUMENT, "REQUEST_ID_REUSED", FailureKind::kRefused},
  };
  RelayServer server(pki_);
  const auto client = Connect(pki_.settings({server.address()}));
  for (const Row& row : rows) {
    server.answer = [&](grpc::ServerContext&) { return Refusal(row.code, row.reason, "a\nsentence"); };
    const Outcome outcome = Sign(*client);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.failure->kind, row.kind) << row.reason;
    EXPECT_EQ(outcome.failure->reason, row.reason);
    EXPECT_EQ(outcome.failure->message, "a sentence");
    EXPECT_TRUE(outcome.signatures.empty());
  }
  EXPECT_EQ(server.seen().request_ids.size(), std::size(rows));
}

TEST_F(RelayClient, ARefusalThatIsNotHallmarksIsNoRefusalOfTheMessage) {
  RelayServer server(pki_);
  server.answer = [](grpc::ServerContext&) {
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "says a proxy on the way");
  };
  const Outcome outcome = Sign(*Connect(pki_.settings({server.address()})));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
  EXPECT_EQ(outcome.failure->reason, "INTERNAL");
}

TEST_F(RelayClient, AMessageThatCannotBeSignedIsRefusedWithoutACall) {
  RelayServer server(pki_);
  const auto client = Connect(pki_.settings({server.address()}));
  const Outcome outcome = Sign(*client, {}, std::string(2 << 20, 'x'));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure->reason, "HEADER_TOO_LARGE");
  EXPECT_EQ(server.seen().request_ids.size(), 0u);
}

TEST_F(RelayClient, EveryCallUnderWayIsAnsweredBeforeTheClientIsGone) {
  RelayServer server(pki_);
  server.answer = [](grpc::ServerContext&) {
    std::this_thread::sleep_for(50ms);
    return grpc::Status::OK;
  };
  auto client = Connect(pki_.settings({server.address()}));
  std::atomic<int> is_signed = 0, refused = 0;
  for (int i = 0; i < 50; ++i) {
    Message message = client->Open({});
    message.Feed(i % 5 == 0 ? std::string(2 << 20, 'x') : kMessage);
    client->Finish(std::move(message), [&](const Outcome& outcome) { ++(outcome ? is_signed : refused); });
  }
  client.reset();
  EXPECT_EQ(is_signed, 40);
  EXPECT_EQ(refused, 10);
}

// A limit of ten minutes, a server that says nothing, and one that says: later.
TEST_F(RelayClient, WhatIsCancelledEndsBeforeItsTime) {
  RelayServer silent(pki_), waiting(pki_);
  silent.answer = Silence;
  waiting.answer = [](grpc::ServerContext&) { return Later("LEDGER_UNAVAILABLE", 5min); };
  for (RelayServer* server : {&silent, &waiting}) {
    for (const bool large : {false, true}) {
      Settings settings = pki_.settings({server->address()});
      settings.send_message = large;
      std::mutex mutex;
      std::vector<Outcome> outcomes;
      auto client = Connect(settings);
      const auto sign = [&] {
        Message message = client->Open({});
        message.Feed(large ? std::string(kMessage) + std::string(3'000'000, 'x') : kMessage);
        client->Finish(std::move(message), [&](Outcome outcome) {
          const std::lock_guard lock(mutex);
          outcomes.push_back(std::move(outcome));
        });
      };
      const std::size_t asked = server->seen().request_ids.size();
      for (int i = 0; i < 5; ++i) sign();
      const auto end = std::chrono::steady_clock::now() + 60s;
      while (server->seen().request_ids.size() < asked + 5 && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(5ms);
      }
      EXPECT_EQ(server->seen().request_ids.size(), asked + 5);
      client->Cancel();
      sign();
      client.reset();
      ASSERT_EQ(outcomes.size(), 6u);
      for (const Outcome& outcome : outcomes) {
        ASSERT_FALSE(outcome);
        EXPECT_EQ(outcome.failure->kind, FailureKind::kUnavailable);
        EXPECT_EQ(outcome.failure->reason, "CANCELLED");
      }
    }
  }
}

TEST_F(RelayClient, ACertificateThatWasReplacedIsUsedAndHalfOfOneIsNot) {
  RelayServer server(pki_);
  const auto client = Connect(pki_.settings({server.address()}));
  const auto caller = [&] {
    EXPECT_TRUE(Sign(*client));
    return server.seen().callers.back();
  };
  EXPECT_EQ(caller(), "relay.test");
  pki_.IssueRelay("half.test", /*certificate=*/true, /*key=*/false);
  for (int i = 0; i < 30; ++i) {  // longer than the files go unlooked at
    EXPECT_EQ(caller(), "relay.test");
    std::this_thread::sleep_for(50ms);
  }
  pki_.IssueRelay("new.test");
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (caller() != "new.test" && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(20ms);
  EXPECT_EQ(caller(), "new.test");
}

// The CA's file is a pipe that is replaced while it is read.
TEST_F(RelayClient, FilesThatAreJustBeingReplacedAreNotWrongSettings) {
  Settings settings = pki_.settings({kNobody});
  const std::string good = settings.ca, pipe = pki_.path("pipe.pem"), next = pki_.path("next.pem");
  settings.ca = pipe;
  for (const std::string& content : {ReadText(good), std::string("no certificate")}) {
    std::filesystem::remove(pipe);
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    std::filesystem::copy_file(good, next);
    std::thread writer([&] {
      const FileDescriptor end(::open(pipe.c_str(), O_WRONLY | O_CLOEXEC));  // waits for the reader
      std::filesystem::rename(next, pipe);
      EXPECT_EQ(::write(end.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
    });
    const auto connection = Client::Connect(settings);
    writer.join();
    ASSERT_TRUE(connection.failure);
    EXPECT_EQ(connection.failure->reason, "STATE_CONFLICT");
    EXPECT_FALSE(Client::Connect(settings).failure) << "it passes";
  }
}

// In a process of its own, which may have no more threads than gRPC has begun by then. Root may have any number.
TEST_F(RelayClient, AThreadThatTheSystemRefusesIsSaidAndNotThrown) {
  constexpr uid_t kNobodysUser = 65534;
  const Settings settings = pki_.settings({kNobody});
  for (const std::string& path : {settings.ca, settings.certificate, settings.private_key}) {
    ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
    ASSERT_EQ(::chmod(std::filesystem::path(path).parent_path().c_str(), 0755), 0);
  }
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto connect = [&] {
    const auto first = Client::Connect(settings);  // begins gRPC's threads
    const bool root = ::geteuid() == 0;
    const rlimit none{0, 0};
    if (!first.client || ::setrlimit(RLIMIT_NPROC, &none) != 0) std::_Exit(1);
    if (root && ::setresuid(kNobodysUser, kNobodysUser, 0) != 0) std::_Exit(1);
    const auto second = Client::Connect(settings);
    std::fprintf(stderr, "said: %s\n", second.failure ? second.failure->reason.c_str() : "nothing");
    if (root && ::setresuid(0, 0, 0) != 0) std::_Exit(1);
    std::filesystem::remove_all(std::filesystem::path(settings.ca).parent_path());
    std::_Exit(0);
  };
  EXPECT_EXIT(connect(), testing::ExitedWithCode(0), "said: NO_THREAD");
}

TEST_F(RelayClient, SettingsThatCannotWorkAreRefusedWithWhatIsWrong) {
  const auto failure = [](const Settings& settings) {
    const auto connection = Client::Connect(settings);
    EXPECT_EQ(connection.client, nullptr);
    EXPECT_TRUE(connection.failure);
    if (!connection.failure) return std::string();
    EXPECT_EQ(connection.failure->reason, "INVALID_SETTINGS");
    return connection.failure->message;
  };
  EXPECT_THAT(failure(pki_.settings({})), HasSubstr("no server"));
  for (const char* server : {"localhost", "localhost:", "localhost:0", "localhost:65536", ":8461", "::1:8461",
                             "unix:/run/x:1", "dns:///localhost:1", "local host:1", "localhost:84x"}) {
    EXPECT_THAT(failure(pki_.settings({server})), HasSubstr("expected HOST:PORT")) << server;
  }
  Settings settings = pki_.settings({kNobody});
  settings.certificate = settings.ca;
  EXPECT_THAT(failure(settings), HasSubstr("not the private key of"));
  settings = pki_.settings({kNobody});
  settings.ca = pki_.path("missing.pem");
  EXPECT_THAT(failure(settings), HasSubstr("missing.pem"));
  settings = pki_.settings({kNobody});
  for (const auto timeout : {-1ms, 0ms, 99ms, 600'001ms, std::chrono::milliseconds::max()}) {
    settings.timeout = timeout;
    EXPECT_THAT(failure(settings), HasSubstr("timeout")) << timeout.count();
  }
  for (const char* server : {"localhost:8461", "[::1]:8461", "signer.example:1"}) {
    EXPECT_FALSE(Client::Connect(pki_.settings({server})).failure) << server;
  }
}

}  // namespace
}  // namespace hallmark::relay
