#pragma once

#include <random>
#include <string>

#include "hallmark/ledger/v1/record.pb.h"

namespace hallmark::test {

constexpr std::int64_t kFirstTimeUs = 1'700'000'000'000'000;

// Records as they might come: few partners and domains, many recipients, now and then an act or an alert. The time goes
// on by a second each.
class RandomRecords {
 public:
  explicit RandomRecords(unsigned seed) : random_(seed) {}

  ledger::v1::Record Next() {
    ledger::v1::Record record;
    record.set_time_us(kFirstTimeUs + 1'000'000 * number_++);
    const unsigned kind = Below(40);
    if (kind == 0) {
      record.mutable_admin_act()->set_method("CreateDomain");
    } else if (kind == 1) {
      record.mutable_alert()->set_partner(Partner());
      record.mutable_alert()->set_signing_domain(Domain());
    } else {
      FillSignature(*record.mutable_signature());
    }
    return record;
  }

  unsigned Below(unsigned end) { return static_cast<unsigned>(random_() % end); }
  std::string Partner() { return "partner" + std::to_string(Below(5)); }
  std::string Domain() { return "d" + std::to_string(Below(7)) + ".example"; }
  std::string Recipient() { return "R" + std::to_string(Below(60)) + "@Example.org"; }
  std::string MessageId() { return "<" + std::to_string(Below(800)) + "@example.com>"; }
  std::string From() { return "Author" + std::to_string(Below(30)) + "@example.com"; }

 private:
  void FillSignature(ledger::v1::Signature& signature) {
    signature.set_partner(Partner());
    signature.set_signing_domain(Domain());
    signature.set_message_id(MessageId());
    signature.set_from(From());
    for (unsigned i = Below(3); i > 0; --i) signature.add_recipients(Recipient());
    if (Below(3) == 0) signature.add_recipient_hashes("hash of " + Recipient());
    signature.set_recipient_count(signature.recipients_size() + signature.recipient_hashes_size());
    signature.set_octets(Below(10'000));
    signature.set_index(Below(2));
  }
  std::mt19937 random_;
  std::int64_t number_ = 0;
};

}  // namespace hallmark::test
