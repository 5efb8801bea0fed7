#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "signerd/pipeline/pipeline.h"

// For pipeline.cc, which a message goes into, and finish.cc, which it comes out of.
namespace hallmark::pipeline {

// A job on its way. Its stages touch it one after the other; only `remaining` and a slot each are touched in between.
struct Pipeline::Work {
  struct Slot {
    std::shared_ptr<const snapshot::Key> key;
    dkim::PreparedSignature prepared;
    Result<tokens::Made> made = tokens::Made{};
  };
  explicit Work(Job taken)
      : job(std::move(taken)),
        partner(admission::FindPartner(*job.origin.snapshot, *job.origin.relay, job.origin.requested_partner)) {}
  // Partners share what there is, and the relays of a partner what it gets. Only where there is a partner.
  tokens::Flow flow() const { return {(*partner)->name, (*partner)->weight, job.origin.relay->name}; }
  // To prepare it: about the same for a message and for some 20,000 octets of it.
  double cost() const {
    const auto* whole = std::get_if<std::string_view>(&job.message);
    return 1 + (whole == nullptr ? 0 : static_cast<double>(whole->size()) / 20'000);
  }
  Job job;
  Result<const snapshot::Partner*> partner;
  Intake::Place* place = nullptr;       // where it holds a credit
  std::optional<ParsedMessage> parsed;  // until its body is hashed
  std::optional<HashedMessage> hashed;
  std::optional<Fingerprint> fingerprint;              // where there is a request_id
  std::optional<Deduplication<WorkPointer>::Name> id;  // while it is the first of its request_id
  std::uint64_t first_record = 0;                      // once it is on the ledger
  bool repeated = false;                               // it is answered as another one of its request_id was
  std::vector<Slot> slots;
  Stamps stamps;
  std::atomic<std::size_t> remaining{0};
  const Slot* wrong = nullptr;  // whose signature did not verify
  bool signed_again = false;
};

}  // namespace hallmark::pipeline
