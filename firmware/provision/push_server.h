#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "firmware/provision/tls_stream.h"

// Pushing a configuration over the network, once. Over TLS 1.3 the pusher says "HALLMARK-PUSH 1 CODE SIZE\n"; the box
// answers "GO\n" if the code is that on its console, takes SIZE octets, and then answers "OK SIZE\n" with what the box
// has to say, or "NO SENTENCE\n". Once it has put the former away the pusher says "KEPT\n": only then the box takes it
// that somebody has its certificate and its recovery key.
namespace hallmark::provision {

inline constexpr const char* kFromSystemd = "systemd";  // to listen on the socket that it passes on
inline constexpr int kWrongCodes = 5;                   // then there is a new one
inline constexpr std::size_t kMostLine = 256;           // of the protocol

// One listener with a certificate of its own and a one-time code (80 bits). One connection at a time, each in at most
// 20 s up to a right code; a wrong code is answered after a second.
class PushServer {
 public:
  // "ADDRESS:PORT", port 0: a free one; or kFromSystemd. `delay` after a wrong code.
  static Result<std::unique_ptr<PushServer>> Start(const std::string& listen,
                                                   std::chrono::milliseconds delay = std::chrono::seconds(1));
  // Closes; whoever is connected is cut off.
  ~PushServer();

  int port() const { return port_; }
  const std::string& fingerprint() const { return fingerprint_; }
  // "ABCD-EFGH-IJKL-MNOP".
  std::string Code();
  // The same, if it is another than the last one that was given.
  std::optional<std::string> NewCode();
  struct Pushed {
    int number;  // of the push, from 1
    std::string file;
  };
  // What was pushed with the right code; its pusher waits for Answer. The first only: nothing is taken before that.
  std::optional<Pushed> Take();
  // Answers the pusher of `number`, and no other. `taken`: the box is set up, and nothing more is let in; waits then
  // until the pusher says that it has put `text` away, some seconds at most. False: nobody is known to have it.
  bool Answer(int number, bool taken, const std::string& text);

 private:
  PushServer(FileDescriptor listener, FileDescriptor stop, Identity identity, std::chrono::milliseconds delay);
  void Serve();
  void Converse(FileDescriptor socket);
  bool CodeIsRight(std::string_view code);
  std::string GiveCode();  // with mutex_

  FileDescriptor listener_, stop_;
  Identity identity_;
  std::chrono::milliseconds delay_;
  std::string fingerprint_;
  int port_ = 0;
  std::mutex mutex_;  // guards all below but thread_
  std::condition_variable answered_;
  std::string code_;
  bool code_is_new_ = true, closed_ = false;
  int wrong_ = 0;
  int pushes_ = 0, waiting_ = 0;  // how many there were; the one whose pusher waits for an answer, 0: none
  bool kept_ = false;             // what the pusher said who waited last
  std::optional<Pushed> pushed_;
  std::optional<std::string> answer_;
  std::thread thread_;
};

// Letters and digits of a code, in one case: what a person may have typed.
std::string PlainCode(std::string_view typed);

// Pushes `file` to the box at "ADDRESS:PORT". `keep` puts away what it says: its certificate, and its recovery key
// where it has one. `fingerprint` is that on the console: all of it, or the first 16 octets at least. kStateConflict
// where another answers, before the code is sent. When it fails after `keep` did, the box is set up.
Status Push(const std::string& box, const std::string& fingerprint, const std::string& code, const std::string& file,
            const std::function<Status(const std::string& answer)>& keep);

}  // namespace hallmark::provision
