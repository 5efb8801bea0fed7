#pragma once

#include <boost/asio/local/stream_protocol.hpp>

#include <array>
#include <functional>
#include <memory>

#include "firmware/runtime/result.h"
#include "hsm/link/frame.h"

namespace hallmark::link {

// Frames over a connected stream socket, both ways. Everything happens on the socket's executor, which must run on one
// thread; Send and Close may be called from any thread. What is sent while an earlier write is under way is joined into
// one write; nothing bounds it here: the credits above it do.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;
  static std::shared_ptr<Channel> Create(Socket socket);

  // `on_closed` is called once, unless Close() came first; nothing is called after it.
  void Start(std::function<void(Frame)> on_frame, std::function<void(Error)> on_closed);
  void Send(Frame frame);
  void Close();

 private:
  explicit Channel(Socket socket) : socket_(std::move(socket)) {}
  void Read();
  void Write();
  void Take(std::size_t count);
  void Fail(const Error& error);
  void CloseNow();

  Socket socket_;
  Decoder decoder_;
  std::array<std::uint8_t, 65536> buffer_;
  Bytes waiting_, writing_;
  bool closed_ = false;
  std::function<void(Frame)> on_frame_;
  std::function<void(Error)> on_closed_;
};

}  // namespace hallmark::link
