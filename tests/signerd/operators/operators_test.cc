#include "signerd/operators/operators.h"

#include <gtest/gtest.h>

#include "sample.h"
#include "signerd/operators/totp.h"

namespace hallmark::operators {
namespace {

constexpr std::chrono::sys_seconds kStart{std::chrono::seconds(1'800'000'000)};
const Peer kAdmin{{"uri:x:admin"}, Bytes(32, 1)}, kSecond{{"uri:x:second"}, Bytes(32, 2)},
    kThird{{"uri:x:third"}, Bytes(32, 3)};

class OperatorsTest : public testing::Test {
 protected:
  OperatorsTest() { Reopen(); }

  // As a restart of the daemon.
  void Reopen() {
    operators_.reset();
    store_.reset();
    auto store = store::Store::Open(folder_.path() / "hallmark.db");
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
    auto operators = Operators::Open(*store_, clock_, {{"uri:x:admin", "uri:x:second", "uri:x:third"}, kSession});
    ASSERT_TRUE(operators) << operators.error().message;
    operators_ = std::move(*operators);
  }

  void Advance(std::chrono::seconds by) { clock_.Set(clock_.Now() + by); }
  std::int64_t Step() const { return totp::StepAt(clock_.Now()); }

  // Enrols, and leaves the present code for a login. The secret.
  Bytes Enroll(const Peer& peer, const std::string& name = "") {
    const auto begun = operators_->BeginEnrollment(peer, name);
    EXPECT_TRUE(begun) << begun.error().message;
    if (!begun) return {};
    const auto done = operators_->FinishEnrollment(peer, totp::CodeAt(begun->secret, Step() - 1));
    EXPECT_TRUE(done) << done.error().message;
    return begun->secret;
  }
  Reason LoginReason(const Peer& peer, const std::string& code) {
    const auto done = operators_->Login(peer, code);
    EXPECT_FALSE(done);
    return done ? Reason::kInternal : done.error().reason;
  }
  // One that is not right now.
  std::string WrongCode(const Bytes& secret) const {
    for (int code = 0;; ++code) {
      const std::string text = std::to_string(100'000 + code);
      if (!totp::MatchingStep(secret, text, clock_.Now())) return text;
    }
  }

  static constexpr std::chrono::minutes kSession{15};
  test::TemporaryFolder folder_;
  ManualClock clock_{kStart};
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Operators> operators_;
};

TEST_F(OperatorsTest, FirstOfficersEnrolUntilTwoHave) {
  EXPECT_TRUE(operators_->MayEnroll(kAdmin));
  EXPECT_EQ(operators_->MayEnroll({{"uri:x:stranger"}, Bytes(32, 9)}).error().reason, Reason::kCallerUnknown);
  Enroll(kAdmin);
  EXPECT_EQ(operators_->Identify(kAdmin)->name, "admin");
  EXPECT_EQ(operators_->Identify(kAdmin)->role, Role::kOfficer);
  EXPECT_EQ(operators_->MayEnroll(kAdmin).error().reason, Reason::kStateConflict) << "each once";
  Enroll(kSecond, "bob");
  EXPECT_EQ(operators_->Identify(kSecond)->name, "bob");
  EXPECT_EQ(operators_->MayEnroll(kThird).error().reason, Reason::kCallerUnknown);
  ASSERT_TRUE(operators_->Remove("bob"));
  EXPECT_FALSE(operators_->MayEnroll(kThird)) << "the beginning does not come back";
  EXPECT_FALSE(operators_->MayEnroll(kSecond));
}

TEST_F(OperatorsTest, AnEnrolmentThatTheThirdBeganIsNotFinishedOnceTwoHaveEnrolled) {
  const auto begun = operators_->BeginEnrollment(kThird, "");
  ASSERT_TRUE(begun);
  Enroll(kAdmin);
  Enroll(kSecond);
  EXPECT_FALSE(operators_->FinishEnrollment(kThird, totp::CodeAt(begun->secret, Step())));
}

TEST_F(OperatorsTest, AnEnrolmentEndsWithinTenMinutes) {
  const auto begun = operators_->BeginEnrollment(kAdmin, "");
  ASSERT_TRUE(begun);
  Advance(std::chrono::minutes(10));
  EXPECT_EQ(operators_->FinishEnrollment(kAdmin, totp::CodeAt(begun->secret, Step())).error().reason,
            Reason::kStateConflict);
}

TEST_F(OperatorsTest, ACodeIsTakenOnceAndNoneThatIsOlder) {
  const Bytes secret = Enroll(kAdmin);
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step() - 1)), Reason::kLoginRefused) << "the enrolment used it";
  ASSERT_TRUE(operators_->Login(kAdmin, totp::CodeAt(secret, Step() + 1)));
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step() + 1)), Reason::kLoginRefused);
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step())), Reason::kLoginRefused);
  Reopen();
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step() + 1)), Reason::kLoginRefused) << "nor after a restart";
  Advance(totp::kStep);
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step())), Reason::kLoginRefused);
  EXPECT_TRUE(operators_->Login(kAdmin, totp::CodeAt(secret, Step() + 1)));
}

TEST_F(OperatorsTest, LocksAfterFiveRefusedCodesForTwiceAsLongEachTime) {
  const Bytes secret = Enroll(kAdmin);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(LoginReason(kAdmin, WrongCode(secret)), Reason::kLoginRefused) << i;
  for (const int seconds : {30, 60, 120, 240, 480, 960, 1920, 3600, 3600}) {
    EXPECT_EQ(LoginReason(kAdmin, WrongCode(secret)), Reason::kLockedOut) << seconds;
    Advance(std::chrono::seconds(seconds - 1));
    Reopen();
    EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step())), Reason::kLockedOut) << seconds;
    EXPECT_EQ(operators_->MayLogin(kAdmin, "123456").error().reason, Reason::kLockedOut) << "known from memory";
    Advance(std::chrono::seconds(1));
  }
  ASSERT_TRUE(operators_->Login(kAdmin, totp::CodeAt(secret, Step())));
  EXPECT_EQ(LoginReason(kAdmin, WrongCode(secret)), Reason::kLoginRefused) << "a login forgives";
}

// As of a box whose clock no time server has set yet.
TEST_F(OperatorsTest, ALockByAClockThatWasAheadIsOverWhenItIsSet) {
  const Bytes secret = Enroll(kAdmin);
  Advance(std::chrono::days(30));
  for (int i = 0; i < 5; ++i) operators_->Login(kAdmin, WrongCode(secret));
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step())), Reason::kLockedOut);
  EXPECT_GT(operators_->Get("admin")->locked_until, clock_.Now());
  EXPECT_GT(operators_->List().at(0).locked_until, clock_.Now());
  Advance(-std::chrono::days(30) + 2 * totp::kStep);
  Reopen();
  EXPECT_EQ(operators_->Get("admin")->locked_until, std::chrono::sys_seconds()) << "nor is it shown";
  EXPECT_EQ(operators_->List().at(0).locked_until, std::chrono::sys_seconds());
  EXPECT_TRUE(operators_->Login(kAdmin, totp::CodeAt(secret, Step())));
}

TEST_F(OperatorsTest, RefusalsWhileLockedWriteNothing) {
  const Bytes secret = Enroll(kAdmin);
  for (int i = 0; i < 5; ++i) operators_->Login(kAdmin, WrongCode(secret));
  const auto failures = operators_->Get("admin")->failures;
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(LoginReason(kAdmin, WrongCode(secret)), Reason::kLockedOut);
  EXPECT_EQ(operators_->Get("admin")->failures, failures);
  EXPECT_EQ(store_->ListOperators()->front().failures, failures);
}

TEST_F(OperatorsTest, WhatIsNoCodeIsNoGuess) {
  Enroll(kAdmin);
  for (const char* code : {"", "12345", "1234567", "12345x", "１２３４５６"}) {
    EXPECT_EQ(LoginReason(kAdmin, code), Reason::kInvalidArgument) << code;
  }
  EXPECT_EQ(operators_->Get("admin")->failures, 0);
}

TEST_F(OperatorsTest, ASessionIsThatOfItsOperatorAndCertificate) {
  const Bytes secret = Enroll(kAdmin);
  const auto login = operators_->Login(kAdmin, totp::CodeAt(secret, Step()));
  ASSERT_TRUE(login);
  const std::string& token = login->session.token;
  EXPECT_TRUE(operators_->Authorize(kAdmin, token));
  EXPECT_EQ(operators_->Authorize(kAdmin, "").error().reason, Reason::kLoginRequired);
  const Peer renewed{kAdmin.identities, Bytes(32, 7)};
  EXPECT_EQ(operators_->Authorize(renewed, token).error().reason, Reason::kLoginRequired);
  Enroll(kSecond);
  EXPECT_EQ(operators_->Authorize({kSecond.identities, kAdmin.certificate}, token).error().reason,
            Reason::kLoginRequired);
  const Peer both{{"uri:x:admin", "uri:x:second"}, kAdmin.certificate};
  EXPECT_EQ(operators_->Authorize(both, token).error().reason, Reason::kCallerUnknown);
  Advance(kSession);
  EXPECT_EQ(operators_->Authorize(kAdmin, token).error().reason, Reason::kLoginRequired);
}

TEST_F(OperatorsTest, ARestartEndsSessions) {
  const Bytes secret = Enroll(kAdmin);
  const auto login = operators_->Login(kAdmin, totp::CodeAt(secret, Step()));
  ASSERT_TRUE(login);
  Reopen();
  EXPECT_EQ(operators_->Authorize(kAdmin, login->session.token).error().reason, Reason::kLoginRequired);
}

TEST_F(OperatorsTest, RemovalAndResetEndSessions) {
  const Bytes secret = Enroll(kAdmin);
  auto login = operators_->Login(kAdmin, totp::CodeAt(secret, Step()));
  ASSERT_TRUE(login);
  ASSERT_TRUE(operators_->Reset("admin"));
  EXPECT_FALSE(operators_->Authorize(kAdmin, login->session.token));
  EXPECT_EQ(LoginReason(kAdmin, totp::CodeAt(secret, Step() + 1)), Reason::kLoginRefused);
  Advance(2 * totp::kStep);
  const Bytes fresh = Enroll(kAdmin);
  EXPECT_NE(fresh, secret);
  login = operators_->Login(kAdmin, totp::CodeAt(fresh, Step()));
  ASSERT_TRUE(login);
  ASSERT_TRUE(operators_->Remove("admin"));
  EXPECT_EQ(operators_->Authorize(kAdmin, login->session.token).error().reason, Reason::kCallerUnknown);
  EXPECT_EQ(operators_->Get("admin").error().reason, Reason::kNotFound);
  EXPECT_TRUE(store_->ListOperators()->front().secret.empty()) << "nothing of the secret stays";
}

TEST_F(OperatorsTest, ANameMeansOnePersonForEver) {
  Enroll(kAdmin);
  ASSERT_TRUE(operators_->Create("eve", "dns:eve.example", Role::kAuditor));
  EXPECT_EQ(operators_->Create("eve", "dns:other.example", Role::kAuditor).error().reason, Reason::kAlreadyExists);
  EXPECT_EQ(operators_->Create("adam", "dns:eve.example", Role::kAuditor).error().reason, Reason::kAlreadyExists);
  ASSERT_TRUE(operators_->Remove("eve"));
  EXPECT_EQ(operators_->Create("eve", "dns:eve.example", Role::kAuditor).error().reason, Reason::kAlreadyExists);
  EXPECT_TRUE(operators_->Create("adam", "dns:eve.example", Role::kAuditor));
  for (const char* name : {"", "A", "a b", "a/b", "é"}) {
    EXPECT_EQ(operators_->Create(name, "dns:x.example", Role::kAuditor).error().reason, Reason::kInvalidArgument);
  }
  EXPECT_EQ(operators_->Create("x", "x.example", Role::kAuditor).error().reason, Reason::kInvalidArgument);
}

// Rows of a version that kept identities as they were written.
TEST_F(OperatorsTest, AnIdentityInCapitalsIsThatOfItsCertificate) {
  const auto insert = [&](const std::string& name, const std::string& identity) {
    store::OperatorRow row;
    row.name = name;
    row.identity = identity;
    ASSERT_TRUE(store_->InsertOperator(row));
  };
  insert("alice", "dns:Alice.example");
  insert("bob", "dns:Bob.example");
  insert("robert", "dns:bob.example");
  insert("uri", "uri:X:Eve");
  Reopen();
  const auto name = [&](const std::string& identity) {
    const auto row = operators_->Identify({{identity}, Bytes(32, 7)});
    return row ? row->name : "";
  };
  EXPECT_EQ(name("dns:alice.example"), "alice");
  EXPECT_EQ(name("dns:bob.example"), "robert") << "who could come in before still can";
  EXPECT_EQ(name("uri:X:Eve"), "uri");
  EXPECT_EQ(operators_->Create("eve", "dns:alice.example", Role::kAuditor).error().reason, Reason::kAlreadyExists);
  ASSERT_TRUE(operators_->Reset("alice"));
  Reopen();
  EXPECT_EQ(name("dns:alice.example"), "alice");
}

TEST_F(OperatorsTest, IsOfTheTimeOfItsNewestSecondFactor) {
  Enroll(kAdmin);
  EXPECT_EQ(operators_->Get("admin")->enrolled, kStart);
  ASSERT_TRUE(operators_->Reset("admin"));
  Advance(2 * totp::kStep);
  Enroll(kAdmin);
  EXPECT_EQ(operators_->Get("admin")->enrolled, kStart + 2 * totp::kStep);
}

}  // namespace
}  // namespace hallmark::operators
