#include <string>

#include "check.h"
#include "memory_file.h"
#include "signerd/policy/policy_convert.h"
#include "signerd/policy/policy_file.h"

// A policy, as an operator's policy.toml and as the API's message. What is taken is the same policy once it is written,
// in either form.
namespace {

using namespace hallmark;

Result<admin::v1::Policy> Load(std::string_view text) {
  static MemoryFile file;
  file.Write(text);
  return policy::LoadPolicy(file.path());
}

void CheckTaken(const snapshot::Policy& policy) {
  const auto same = [&policy](const Result<snapshot::Policy>& again) {
    return again && again->partners == policy.partners && again->relays == policy.relays;
  };
  const admin::v1::Policy shown = policy::ToApi(policy);
  Check(same(policy::FromApi(shown, {})), "what is shown is taken, and is the same");
  const auto loaded = Load(policy::PolicyText(shown));
  Check(loaded.has_value(), "what is in force is written as a file that loads");
  Check(same(policy::FromApi(*loaded, {})), "and the file says the same");
  Check(policy::Etag(policy) == policy::Etag(*policy::FromApi(*loaded, {})), "under the same etag");
}

void Try(const admin::v1::Policy& wanted) {
  const auto policy = policy::FromApi(wanted, {});
  if (policy) {
    CheckTaken(*policy);
  } else {
    Check(policy.error().reason == Reason::kInvalidArgument && !policy.error().message.empty(),
          "a fault has a sentence");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view octets(reinterpret_cast<const char*>(data), size);
  admin::v1::Policy message;
  if (message.ParseFromArray(data, static_cast<int>(size))) Try(message);
  const auto loaded = Load(octets);
  if (loaded) {
    Try(*loaded);
  } else {
    Check(loaded.error().reason == Reason::kConfigInvalid && !loaded.error().message.empty(), "a fault has a sentence");
  }
  return 0;
}
