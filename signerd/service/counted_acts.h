#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "firmware/runtime/result.h"
#include "hallmark/ledger/v1/record.pb.h"

namespace hallmark::service {

// Acts that may come by the thousand a second, above all refusals: the first of a kind goes to the ledger at once, what
// follows is counted and goes there once a second as one record. A kind is everything but the request and the changes.
// Any thread.
class CountedActs {
 public:
  using AdminAct = hallmark::ledger::v1::AdminAct;
  using Journal = std::function<Status(const AdminAct&)>;

  struct Added {
    bool first;       // of its kind for a second: Flush now
    bool none_known;  // nothing was counted before: call Tick in a second
  };
  Added Add(AdminAct act);
  // Writes what was counted. What the ledger does not take stays counted.
  void Flush(const Journal& journal);
  // As Flush, and forgets kinds that did not come for a second. True when Tick is to be called again in a second.
  bool Tick(const Journal& journal);

 private:
  std::map<std::string, AdminAct> TakeCounted();
  std::mutex mutex_;  // guards kinds_
  std::map<std::string, AdminAct> kinds_;
};

}  // namespace hallmark::service
