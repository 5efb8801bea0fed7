#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "firmware/runtime/metrics.h"
#include "tools/milter/frame.h"
#include "tools/milter/session.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::milter {

// What all connections work with. Outlives them.
struct Service {
  const SessionSettings& settings;
  relay::Client& client;
  Tally& tally;
  Histogram& signing_seconds;
};

// One MTA's connection. Everything happens on the thread of its socket's executor.
class Connection {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;
  using Time = std::chrono::steady_clock::time_point;

  // `scratch` is the thread's: what is read goes through it, so that a connection that waits holds next to no memory.
  Connection(Socket socket, const Service& service, std::span<char> scratch);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Until the MTA closes it, breaks the protocol, or Close().
  boost::asio::awaitable<void> Serve();

  // Ends it once it is not within a message.
  void Drain();
  // Ends it now.
  void Close();
  // When something last came or went; now, while a message is being signed.
  Time last_active() const { return signing_ ? std::chrono::steady_clock::now() : last_active_; }

 private:
  Session::Next TakeFrames();
  // Each closes the connection where it cannot go on.
  boost::asio::awaitable<void> Read();
  boost::asio::awaitable<void> Write();
  boost::asio::awaitable<void> Sign();
  void TakeWarnings(const std::vector<relay::Warning>& warnings);
  void TellOutage(const relay::Outcome& outcome);

  Socket socket_;
  const Service& service_;
  const std::span<char> scratch_;
  Decoder decoder_;
  Session session_;
  std::string out_;
  Time last_active_ = std::chrono::steady_clock::now();
  bool signing_ = false;
  bool draining_ = false;
};

}  // namespace hallmark::milter
