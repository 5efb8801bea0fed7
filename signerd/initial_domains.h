#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "signerd/store/store.h"

namespace hallmark {

namespace keys {
class Rotator;
}

// A domain that hallmark.toml wants to sign from the first start on.
struct InitialDomain {
  std::string name;
  std::vector<store::KeyKind> algorithms;
};

// Puts the rotation policy of all domains into the store, where it has none: for a token that does not make the usual
// keys. Before PutInitialDomains.
Status PutInitialRotation(store::Store& store, const std::optional<store::RotationPolicy>& policy);

// Puts domains into the store that it does not have, with a rotation policy of their own where they want other keys
// than is usual. What is there is left as it is. Before the first snapshot.
Status PutInitialDomains(store::Store& store, const std::vector<InitialDomain>& domains, const Clock& clock);

// Asks for the first keys of those that never had any. They need not wait for caches: nobody can have asked for their
// selectors yet; so they sign as soon as every name server has their records. A domain's trouble is logged.
void RequestInitialKeys(store::Store& store, keys::Rotator& rotator, const std::vector<InitialDomain>& domains);

// The DNS records of the first keys, for whoever sets the box up: a file that is written once, when all domains have
// their keys. Any thread.
class InitialRecords {
 public:
  InitialRecords(store::Store& store, const std::vector<InitialDomain>& domains, std::filesystem::path file);
  // Writes the file if it is time, and was not written yet.
  void Look();

 private:
  Result<std::string> Text();  // empty: not yet

  store::Store& store_;
  std::vector<InitialDomain> domains_;
  std::filesystem::path file_;
  std::atomic<bool> done_;
};

}  // namespace hallmark
