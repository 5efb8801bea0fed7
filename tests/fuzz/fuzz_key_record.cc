#include <string>

#include "check.h"
#include "signerd/dkim/key_record.h"

// A key record of any octets; a key that can be read is published as a record that reads the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hallmark;
  using namespace hallmark::dkim;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string quoted = ZoneFileTxt(text);
  Check(quoted.starts_with('"') && quoted.ends_with('"') && quoted.find('\n') == std::string::npos,
        "a TXT value is quoted");
  const auto record = ParseKeyRecord(text);
  if (!record) {
    Check(record.error().message.starts_with("key record: "), "a fault has a sentence");
    return 0;
  }
  const auto key = PublicKey::FromRecordData(record->algorithm, record->public_data);
  if (!key) return 0;
  Check(key->algorithm() == record->algorithm, "a key is of the algorithm of its record");
  const auto again = ParseKeyRecord(KeyRecordValue(*key));
  Check(again && again->algorithm == record->algorithm, "a made record parses");
  const auto same = PublicKey::FromRecordData(again->algorithm, again->public_data);
  Check(same && same->Spki() == key->Spki(), "a made record has the same key");
  Check(!key->Verify({}, {}), "nothing is no signature");
  return 0;
}
