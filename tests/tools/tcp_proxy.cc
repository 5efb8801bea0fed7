#include "tcp_proxy.h"

#include <array>

namespace asio = boost::asio;
using asio::ip::tcp;

TcpProxy::TcpProxy(int to)
    : acceptor_(io_, {asio::ip::address_v4::loopback(), 0}),
      to_(asio::ip::address_v4::loopback(), static_cast<unsigned short>(to)) {
  Accept();
  thread_ = std::thread([this] { io_.run(); });
}

TcpProxy::~TcpProxy() {
  io_.stop();
  thread_.join();
}

void TcpProxy::Accept() {
  auto client = std::make_shared<Socket>(io_);
  acceptor_.async_accept(*client, [this, client](boost::system::error_code error) {
    if (error) return;
    const auto server = std::make_shared<Socket>(io_);
    if (takes_more_) server->connect(to_, error);
    if (takes_more_ && !error) {
      Pump(client, server);
      Pump(server, client);
    }
    Accept();
  });
}

void TcpProxy::Pump(const std::shared_ptr<Socket>& from, const std::shared_ptr<Socket>& to) {
  auto buffer = std::make_shared<std::array<char, 65536>>();
  from->async_read_some(asio::buffer(*buffer), [=, this](boost::system::error_code error, std::size_t octets) {
    if (!error && !cut_) asio::write(*to, asio::buffer(*buffer, octets), error);
    if (error) {
      to->shutdown(Socket::shutdown_both, error);
      return;
    }
    Pump(from, to);
  });
}
