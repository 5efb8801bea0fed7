#include "signerd/service/errors.h"

#include <gtest/gtest.h>

#include <set>

#include "google/rpc/error_details.pb.h"

namespace hallmark::service {
namespace {

google::rpc::ErrorInfo InfoOf(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  EXPECT_TRUE(status.details(0).UnpackTo(&info));
  return info;
}

bool HasRetry(const google::rpc::Status& status) {
  for (const auto& detail : status.details()) {
    if (detail.Is<google::rpc::RetryInfo>()) return true;
  }
  return false;
}

TEST(Errors, FitIntoTheTrailers) {
  std::string sentence(1498, 'x');
  for (int i = 0; i < 1000; ++i) sentence += "\xc3\xb6";
  const auto status = ToRpcStatus(MakeError(Reason::kInvalidArgument, sentence), Audience::kOperator);
  EXPECT_EQ(status.message(), std::string(1497, 'x') + "...");
  EXPECT_EQ(ToRpcStatus(MakeError(Reason::kInvalidArgument, "short"), Audience::kOperator).message(), "short");
}

TEST(Errors, EveryReasonHasAStableNameAndADomain) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(Reason::kInternal); ++i) {
    const auto status = ToRpcStatus(MakeError(static_cast<Reason>(i), "sentence"), Audience::kRelay);
    const auto info = InfoOf(status);
    EXPECT_TRUE(names.insert(info.reason()).second) << info.reason();
    EXPECT_EQ(info.domain(), "hallmark");
    EXPECT_NE(status.code(), grpc::StatusCode::OK);
    // UNAVAILABLE is the one code that a relay retries, and RESOURCE_EXHAUSTED the one that asks for less: both say
    // when, but for a lock-out, whose sentence says it.
    const bool waits = status.code() == grpc::StatusCode::UNAVAILABLE ||
                       (status.code() == grpc::StatusCode::RESOURCE_EXHAUSTED && info.reason() != "LOCKED_OUT");
    EXPECT_EQ(HasRetry(status), waits) << info.reason();
  }
}

TEST(Errors, WhatTheDayHasHadIsToBeTriedTomorrow) {
  using namespace std::chrono;
  const sys_days day = year(2026) / 3 / 1;
  const auto wait = [](system_clock::time_point now) {
    const auto status = ToRpcStatus(MakeError(Reason::kDailyVolumeExceeded, "sentence"), Audience::kRelay, now);
    google::rpc::RetryInfo retry;
    EXPECT_TRUE(status.details(1).UnpackTo(&retry));
    return seconds(retry.retry_delay().seconds()) + nanoseconds(retry.retry_delay().nanos());
  };
  EXPECT_EQ(wait(day), hours(24));
  EXPECT_EQ(wait(day + hours(23) + minutes(59) + milliseconds(59'500)), milliseconds(500));
  EXPECT_EQ(wait(day + hours(24) - nanoseconds(1)), milliseconds(1)) << "never less than what is left";
}

TEST(Errors, ARelayLearnsNothingAboutTheToken) {
  const Error error{Reason::kTokenDown, "token luna: C_Sign: CKR_DEVICE_ERROR", 0x30};
  const auto relay = ToRpcStatus(error, Audience::kRelay);
  EXPECT_EQ(relay.message().find("CKR"), std::string::npos);
  EXPECT_EQ(relay.message().find("luna"), std::string::npos);
  EXPECT_TRUE(InfoOf(relay).metadata().empty());
  const auto operators = ToRpcStatus(error, Audience::kOperator);
  EXPECT_EQ(operators.message(), error.message);
  EXPECT_EQ(InfoOf(operators).metadata().at("ck_rv"), "0x00000030");
}

TEST(Errors, TheGrpcStatusCarriesTheDetails) {
  const grpc::Status status = ToGrpcStatus(MakeError(Reason::kOverloaded, "full"), Audience::kRelay);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  EXPECT_EQ(InfoOf(details).reason(), "OVERLOADED");
}

}  // namespace
}  // namespace hallmark::service
