#pragma once

#include <string>
#include <vector>

#include "hallmark/admin/v1/policy.pb.h"
#include "signerd/snapshot/partner.h"

namespace hallmark::policy {

// What brings one policy to another: for a person, and for the store.
struct Difference {
  std::vector<hallmark::admin::v1::PolicyChange> changes;  // partners in order of name, then relays
  snapshot::PolicyEdit edit;

  // Every change, a sentence each.
  std::vector<std::string> Sentences() const;
  // What of it lets anybody do more than before, as one sentence; empty: nothing. All of it, however long: whoever
  // approves it answers for what it says.
  std::string Widening() const;
};

// Partners and relays are told apart by name: one that has another name is one taken out and one put in. An empty
// Difference where both are the same. Pure.
Difference FindDifference(const snapshot::Policy& from, const snapshot::Policy& to);

}  // namespace hallmark::policy
