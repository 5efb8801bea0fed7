#include "hsm/link/channel.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include <utility>

namespace hallmark::link {

std::shared_ptr<Channel> Channel::Create(Socket socket) {
  return std::shared_ptr<Channel>(new Channel(std::move(socket)));
}

void Channel::Start(std::function<void(Frame)> on_frame, std::function<void(Error)> on_closed) {
  on_frame_ = std::move(on_frame);
  on_closed_ = std::move(on_closed);
  Read();
}

void Channel::Send(Frame frame) {
  boost::asio::dispatch(socket_.get_executor(), [self = shared_from_this(), frame = std::move(frame)] {
    if (self->closed_) return;
    const auto octets = Encode(frame);
    if (!octets) {
      self->Fail(octets.error());
      return;
    }
    self->waiting_.insert(self->waiting_.end(), octets->begin(), octets->end());
    if (self->writing_.empty()) self->Write();
  });
}

void Channel::Close() {
  boost::asio::dispatch(socket_.get_executor(), [self = shared_from_this()] { self->CloseNow(); });
}

void Channel::CloseNow() {
  closed_ = true;
  boost::system::error_code ignored;
  socket_.close(ignored);
  // They may hold what holds this channel.
  boost::asio::post(socket_.get_executor(), [frame = std::move(on_frame_), closed = std::move(on_closed_)] {});
  on_frame_ = nullptr;
  on_closed_ = nullptr;
}

void Channel::Fail(const Error& error) {
  if (closed_) return;
  const auto on_closed = on_closed_;
  CloseNow();
  if (on_closed != nullptr) on_closed(error);
}

void Channel::Read() {
  socket_.async_read_some(boost::asio::buffer(buffer_),
                          [self = shared_from_this()](boost::system::error_code failed, std::size_t count) {
                            if (self->closed_) return;
                            if (failed) {
                              self->Fail(MakeError(Reason::kIoFailed, "the link ended: " + failed.message()));
                            } else {
                              self->Take(count);
                            }
                          });
}

void Channel::Take(std::size_t count) {
  decoder_.Push(ByteView(buffer_).first(count));
  while (!closed_) {
    auto frame = decoder_.Next();
    if (!frame) {
      Fail(frame.error());
      return;
    }
    if (!frame->has_value()) {
      Read();
      return;
    }
    const auto on_frame = on_frame_;  // the handler may close this channel
    on_frame(std::move(**frame));
  }
}

void Channel::Write() {
  writing_ = std::exchange(waiting_, {});
  boost::asio::async_write(socket_, boost::asio::buffer(writing_),
                           [self = shared_from_this()](boost::system::error_code failed, std::size_t) {
                             self->writing_.clear();
                             if (self->closed_) return;
                             if (failed) {
                               self->Fail(MakeError(Reason::kIoFailed, "the link ended: " + failed.message()));
                             } else if (!self->waiting_.empty()) {
                               self->Write();
                             }
                           });
}

}  // namespace hallmark::link
