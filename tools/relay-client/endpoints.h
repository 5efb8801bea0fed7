#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "hallmark/signing/v1/signing.grpc.pb.h"
#include "tools/relay-client/pem_files.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

// One server, and the channel to it. Its state is that of the server's health service: a server that cannot sign looks
// like one that cannot be reached. Any thread.
class Endpoint {
 public:
  Endpoint(std::string server, const std::string& server_name,
           const std::shared_ptr<grpc::ChannelCredentials>& credentials);

  const std::string& server() const { return server_; }
  // Connects where there is no connection.
  grpc_connectivity_state State();
  // Whether it is not ready, and was so less than five minutes ago: it may be back soon.
  bool LeftLately();
  signing::v1::SigningService::Stub& stub() { return stub_; }

  // It left a call without an answer: for half a minute others are asked first.
  void Rest();
  bool Rests() const;

  // Takes over what is known of the same server from the endpoint that had it until now.
  void Remember(Endpoint& before);

 private:
  const std::string server_;
  const std::shared_ptr<grpc::Channel> channel_;
  signing::v1::SigningService::Stub stub_;
  std::atomic<std::chrono::steady_clock::time_point> rests_until_{};
  std::atomic<bool> was_ready_{false};  // when its state was looked at last
  std::atomic<std::chrono::steady_clock::time_point> missed_until_{};
};

// All servers, with one set of certificates. Any thread.
class EndpointSet {
 public:
  EndpointSet(const Settings& settings, const Pem& pem);

  std::size_t size() const { return endpoints_.size(); }
  Endpoint& operator[](std::size_t index) { return *endpoints_[index]; }
  // The index of the next one in turn that is in this state and not in `tried`, one that rests after the others; size()
  // when there is none.
  std::size_t Next(grpc_connectivity_state state, const std::vector<bool>& tried);
  // Whether one other than `index` is ready, not in `tried`, and does not rest.
  bool HasAnother(std::size_t index, const std::vector<bool>& tried);
  bool AnyReady();
  // The index of one that is not in `tried` and left lately; size() when there is none.
  std::size_t LeftLately(const std::vector<bool>& tried);
  // Whether one that is not in `tried`, none of which is ready, may be in a moment: it left lately, or the channels are
  // so new that it may not be connected yet.
  bool AnotherMayCome(const std::vector<bool>& tried);
  // Whether it has connections to all servers that `before`, of the same settings, has; after three seconds to any.
  bool MayTakeOver(EndpointSet& before);
  void Remember(EndpointSet& before);

 private:
  const std::chrono::steady_clock::time_point new_until_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::atomic<std::size_t> turn_{0};
};

// The servers with the certificates that are on disk. Any thread.
class Endpoints {
 public:
  // Checks settings and files: kConfigInvalid, or kStateConflict where these are just being replaced.
  static Result<std::unique_ptr<Endpoints>> Open(const Settings& settings);

  // What to call now. Looks at the files once a second. Where they changed, connections with the new ones take over
  // when they stand, or when none of the old ones does; files that do not fit together are looked at again later.
  std::shared_ptr<EndpointSet> Now();

 private:
  explicit Endpoints(const Settings& settings) : settings_(settings), files_(settings) {}
  void LookAtFiles();
  const Settings settings_;
  std::mutex mutex_;  // guards what follows
  PemFiles files_;
  std::chrono::steady_clock::time_point looked_;
  std::shared_ptr<EndpointSet> current_, coming_;
};

}  // namespace hallmark::relay
