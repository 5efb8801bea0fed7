#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "signerd/dns/observer.h"
#include "signerd/dns/settings.h"
#include "signerd/dns/update.h"
#include "signerd/keys/records.h"

namespace hallmark {

// What keys/ asks of the DNS, answered by dns/. Any thread; calls wait for name servers.
class KeyRecords final : public keys::RecordPublisher, public keys::RecordObserver {
 public:
  // Reads the TSIG keys and the trust anchor; asks nothing yet. `clock` outlives it.
  static Result<std::unique_ptr<KeyRecords>> Open(const dns::Settings& settings, const Clock& clock);

  bool HasPublisher(const std::string& publisher) const override;
  Status Put(const std::string& publisher, const std::string& name, const std::string& value, std::chrono::seconds ttl,
             std::span<const std::string> ours) override;
  Status Remove(const std::string& publisher, const std::string& name, std::span<const std::string> ours) override;
  Result<keys::RecordView> Observe(const std::string& name) override;

 private:
  struct Publisher {
    std::mutex mutex;  // one update at a time
    dns::Updater updater;
  };
  KeyRecords() = default;
  Result<dns::Observer> TakeObserver();
  Result<Publisher*> Find(const std::string& publisher) const;

  dns::ObserverOptions observing_;
  std::map<std::string, std::unique_ptr<Publisher>> publishers_;  // fixed after Open
  std::mutex mutex_;                                              // guards idle_
  std::vector<dns::Observer> idle_;                               // each is used by one thread at a time
};

}  // namespace hallmark
