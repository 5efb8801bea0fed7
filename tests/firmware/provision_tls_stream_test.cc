#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <memory>
#include <thread>

#include "firmware/provision/tls_stream.h"

namespace hallmark::provision {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::minutes kLong{2};

// The other end of a TlsStream, which does what no pusher does.
class Stranger {
 public:
  explicit Stranger(FileDescriptor socket)
      : socket_(std::move(socket)),
        context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free),
        ssl_(SSL_new(context_.get()), &SSL_free) {
    SSL_set_fd(ssl_.get(), socket_.get());
  }
  bool Connect() { return SSL_connect(ssl_.get()) == 1; }
  // A message that brings no data (RFC 8446 section 4.6.3).
  bool UpdateKeys() {
    return SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl_.get()) == 1;
  }
  bool Write(std::string_view octets) {
    return SSL_write(ssl_.get(), octets.data(), static_cast<int>(octets.size())) == static_cast<int>(octets.size());
  }

 private:
  FileDescriptor socket_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
};

class ProvisionTlsStream : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    stranger_ = std::make_unique<Stranger>(FileDescriptor(ends[0]));
    socket_ = FileDescriptor(::fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
    const auto identity = MakeSelfSigned({"box.example.com", {"box.example.com"}, {}, {}, Usage::kServer});
    ASSERT_TRUE(identity);
    bool connected = false;
    std::thread connecting([&] { connected = stranger_->Connect(); });
    auto stream = TlsStream::Accept(FileDescriptor(ends[1]), *identity, steady_clock::now() + kLong, -1);
    connecting.join();
    ASSERT_TRUE(stream) << stream.error().message;
    ASSERT_TRUE(connected);
    stream_ = std::make_unique<TlsStream>(std::move(*stream));
  }

  int Unread() const {
    int octets = 0;
    EXPECT_EQ(::ioctl(socket_.get(), FIONREAD, &octets), 0);
    return octets;
  }

  std::unique_ptr<Stranger> stranger_;
  FileDescriptor socket_;  // another descriptor of the stream's
  std::unique_ptr<TlsStream> stream_;
};

// Whoever keeps them coming would otherwise hold this end for ever.
TEST_F(ProvisionTlsStream, MessagesWithoutDataDoNotGoPastTheDeadline) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(stranger_->UpdateKeys());
  stream_->SetDeadline(steady_clock::now());
  const auto line = stream_->ReadLine(100);
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().reason, Reason::kDeadlineExceeded);
  EXPECT_GT(Unread(), 0) << "it looks at the clock after each message";
}

TEST_F(ProvisionTlsStream, DataAfterSuchMessagesIsRead) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(stranger_->UpdateKeys());
  ASSERT_TRUE(stranger_->Write("a line\n"));
  const auto line = stream_->ReadLine(100);
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(*line, "a line");
}

}  // namespace
}  // namespace hallmark::provision
