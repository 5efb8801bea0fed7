#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "tools/milter/connection.h"
#include "tools/milter/settings.h"

namespace hallmark::milter {

// Listens, and spreads the MTAs' connections over a few threads, each with a loop of its own: a connection stays on its
// thread.
class Server {
 public:
  // `settings` and what `service` refers to must outlive it. kIoFailed where one of the addresses cannot be listened
  // on.
  static Result<std::unique_ptr<Server>> Start(const MilterSettings& settings, const Service& service);
  ~Server();

  // As in the configuration, with the real ports.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // Takes no more connections, ends those that are between messages, waits up to `patience` for the others, and ends
  // them too. The threads still run, so that what the client gives back has somewhere to go.
  void Drain(std::chrono::milliseconds patience);

 private:
  class Worker;
  class Listener;
  Server(const MilterSettings& settings, const Service& service);
  Status Listen(const ListenAddress& address);
  void Take(Connection::Socket socket, Worker& worker);

  const MilterSettings& settings_;
  const Service service_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::string> addresses_;
};

}  // namespace hallmark::milter
