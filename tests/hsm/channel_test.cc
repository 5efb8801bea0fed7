#include "hsm/link/channel.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <thread>

namespace hallmark::link {
namespace {

class LinkChannel : public testing::Test {
 protected:
  LinkChannel() : one_(io_), other_(io_) { boost::asio::local::connect_pair(one_, other_); }
  boost::asio::io_context io_{1};
  Channel::Socket one_, other_;
};

TEST_F(LinkChannel, CarriesFramesBothWaysInOrder) {
  const auto left = Channel::Create(std::move(one_));
  const auto right = Channel::Create(std::move(other_));
  constexpr std::uint64_t kCount = 2000;
  std::vector<std::uint64_t> answered;
  right->Start([&](Frame frame) { right->Send(Pong{std::get<Ping>(frame).id}); }, [](const Error&) {});
  left->Start(
      [&](Frame frame) {
        answered.push_back(std::get<Pong>(frame).id);
        if (answered.size() < kCount) return;
        left->Close();
        right->Close();
      },
      [](const Error& error) { ADD_FAILURE() << error.message; });
  // From a thread that is not the channel's.
  std::thread sender([&] {
    for (std::uint64_t i = 0; i < kCount; ++i) left->Send(Ping{i});
  });
  io_.run();
  sender.join();
  ASSERT_EQ(answered.size(), kCount);
  for (std::uint64_t i = 0; i < kCount; ++i) EXPECT_EQ(answered[i], i);
}

TEST_F(LinkChannel, CarriesTheLargestBatch) {
  const auto left = Channel::Create(std::move(one_));
  const auto right = Channel::Create(std::move(other_));
  std::optional<SignBatch> received;
  right->Start(
      [&](Frame frame) {
        received = std::get<SignBatch>(std::move(frame));
        left->Close();
        right->Close();
      },
      [](const Error& error) { ADD_FAILURE() << error.message; });
  left->Start([](const Frame&) {}, [](const Error&) {});
  SignBatch batch{1, std::vector<SignItem>(kMaxBatch)};
  for (SignItem& item : batch.items) item.input.assign(4000, 0x5a);
  left->Send(batch);
  io_.run();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->items.size(), kMaxBatch);
  EXPECT_EQ(received->items.back().input, batch.items.back().input);
}

TEST_F(LinkChannel, SaysOnceThatTheOtherEndIsGone) {
  const auto left = Channel::Create(std::move(one_));
  int closed = 0;
  left->Start([](const Frame&) {},
              [&](const Error& error) {
                EXPECT_EQ(error.reason, Reason::kIoFailed);
                ++closed;
              });
  other_.close();
  io_.run();
  left->Send(Ping{1});
  io_.restart();
  io_.run();
  EXPECT_EQ(closed, 1);
}

TEST_F(LinkChannel, ClosesOnWhatIsNoFrame) {
  const auto left = Channel::Create(std::move(one_));
  std::optional<Error> closed;
  left->Start([](const Frame&) { ADD_FAILURE(); }, [&](const Error& error) { closed = error; });
  boost::asio::write(other_, boost::asio::buffer("GET / HTTP/1.1\r\n\r\n"));
  io_.run();
  ASSERT_TRUE(closed);
  EXPECT_EQ(closed->reason, Reason::kInvalidArgument);
}

TEST_F(LinkChannel, IsSilentAfterClose) {
  const auto left = Channel::Create(std::move(one_));
  left->Start([](const Frame&) { ADD_FAILURE(); }, [](const Error&) { ADD_FAILURE(); });
  left->Close();
  boost::system::error_code ignored;
  boost::asio::write(other_, boost::asio::buffer("x"), ignored);
  io_.run();
}

}  // namespace
}  // namespace hallmark::link
