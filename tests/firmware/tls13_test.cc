#include "firmware/runtime/tls13.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

namespace hallmark {
namespace {

// gRPC's threads are not ended before a program is: one that cannot reach its server ends in the middle of a handshake.
[[noreturn]] void EndWhileOthersSpeakTls() {
  if (!RequireTls13()) std::_Exit(2);
  for (int i = 0; i < 4; ++i) {
    std::thread([] {
      while (true) SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
    }).detach();
  }
  ::usleep(20'000);
  std::exit(0);
}

TEST(Tls13, ThreadsMaySpeakTlsUntilTheProcessHasEnded) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (int i = 0; i < 10; ++i) EXPECT_EXIT(EndWhileOthersSpeakTls(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace hallmark
