#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <memory>
#include <string>
#include <thread>

// A network between a client and a server on loopback that can be cut: from then on nothing arrives any more, and
// nobody is told.
class TcpProxy {
 public:
  explicit TcpProxy(int to);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()); }
  void Cut() { cut_ = true; }
  // Connections that stand go on; new ones are closed at once.
  void TakeNoMore() { takes_more_ = false; }

 private:
  using Socket = boost::asio::ip::tcp::socket;
  void Accept();
  void Pump(const std::shared_ptr<Socket>& from, const std::shared_ptr<Socket>& to);
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  const boost::asio::ip::tcp::endpoint to_;
  std::atomic<bool> cut_{false};
  std::atomic<bool> takes_more_{true};
  std::thread thread_;
};
