#include "tools/milter/connection.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <memory>

#include "firmware/runtime/log.h"

namespace hallmark::milter {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// The outcome comes on a thread of the client's and goes on on the connection's.
asio::awaitable<relay::Outcome> SignMessage(relay::Client& client, relay::Message message) {
  const auto executor = co_await asio::this_coro::executor;
  co_return co_await asio::async_initiate<decltype(asio::use_awaitable), void(relay::Outcome)>(
      [&](auto handler) {
        const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        client.Finish(std::move(message), [executor, shared](relay::Outcome outcome) {
          asio::post(executor, [shared, outcome = std::move(outcome)]() mutable { (*shared)(std::move(outcome)); });
        });
      },
      asio::use_awaitable);
}

}  // namespace

Connection::Connection(Socket socket, const Service& service, std::span<char> scratch)
    : socket_(std::move(socket)), service_(service), scratch_(scratch), session_(service.settings, service.tally) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
}

Connection::~Connection() = default;

asio::awaitable<void> Connection::Serve() {
  for (;;) {
    const Session::Next next = TakeFrames();
    if (next == Session::Next::kClose) {
      if (!out_.empty()) co_await Write();  // what came before the end is answered
      break;
    }
    if (next == Session::Next::kSign) {
      co_await Sign();
      if (!socket_.is_open()) break;
      continue;
    }
    if (!out_.empty()) co_await Write();
    if (draining_ && !session_.InMessage()) break;
    if (socket_.is_open()) co_await Read();
    if (!socket_.is_open()) break;
  }
  Close();
}

// What has come whole, up to the end of a message.
Session::Next Connection::TakeFrames() {
  for (;;) {
    const auto frame = decoder_.Next();
    if (frame && !*frame) return Session::Next::kRead;
    const auto next = frame ? session_.Take(**frame, out_) : Result<Session::Next>(frame.error());
    if (!next) {
      service_.tally.protocol_errors.fetch_add(1, std::memory_order_relaxed);
      log::warn("a connection is closed: the MTA sent {}", next.error().message);
      return Session::Next::kClose;
    }
    if (*next != Session::Next::kRead) return *next;
  }
}

asio::awaitable<void> Connection::Sign() {
  const auto start = std::chrono::steady_clock::now();
  signing_ = true;
  const relay::Outcome outcome = co_await SignMessage(service_.client, session_.TakeMessage());
  signing_ = false;
  last_active_ = std::chrono::steady_clock::now();
  service_.signing_seconds.Observe(std::chrono::duration<double>(last_active_ - start).count());
  TakeWarnings(outcome.warnings);
  TellOutage(outcome);
  session_.Signed(outcome, out_);
}

void Connection::TakeWarnings(const std::vector<relay::Warning>& warnings) {
  for (const relay::Warning& warning : warnings) {
    if (!service_.tally.warnings.Count(warning.code, last_active_)) continue;
    log::warn("{}: signed, but {}: {} (told once a minute at most)", session_.queue_id(), Printable(warning.code),
              Printable(warning.message));
  }
}

void Connection::TellOutage(const relay::Outcome& outcome) {
  Outage& outage = service_.tally.outage;
  if (outcome || TroubleOf(*outcome.failure) != Trouble::kUnavailable) {
    if (const auto others = outage.Over())
      log::info("messages can be signed again; {} more could not since the last warning", *others);
    return;
  }
  const auto others = outage.Failed(last_active_);
  if (!others) return;
  log::warn("{}: cannot be signed: {}: {} ({} more since the last such line; told once a minute at most)",
            session_.queue_id(), outcome.failure->reason, Printable(outcome.failure->message), *others);
}

asio::awaitable<void> Connection::Read() {
  error_code error;
  std::size_t count = socket_.read_some(asio::buffer(scratch_.data(), scratch_.size()), error);
  while (error == asio::error::would_block) {
    co_await socket_.async_wait(Socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
    if (!error) count = socket_.read_some(asio::buffer(scratch_.data(), scratch_.size()), error);
  }
  if (error) {
    Close();
    co_return;
  }
  last_active_ = std::chrono::steady_clock::now();
  decoder_.Push({scratch_.data(), count});
}

asio::awaitable<void> Connection::Write() {
  error_code error;
  const std::size_t count = socket_.write_some(asio::buffer(out_), error);
  if (error == asio::error::would_block || (!error && count < out_.size())) {
    co_await asio::async_write(socket_, asio::buffer(out_) + count, asio::redirect_error(asio::use_awaitable, error));
  }
  out_.clear();
  last_active_ = std::chrono::steady_clock::now();
  if (error) Close();
}

void Connection::Drain() {
  draining_ = true;
  if (!session_.InMessage()) Close();
}

void Connection::Close() {
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace hallmark::milter
