#include "signerd/initial_policy.h"

#include "firmware/runtime/log.h"
#include "signerd/policy/policy_changes.h"
#include "signerd/policy/policy_convert.h"
#include "signerd/policy/policy_file.h"

namespace hallmark {
namespace {

Result<snapshot::Policy> Read(const std::filesystem::path& file, const snapshot::Policy& present) {
  const auto text = policy::LoadPolicy(file);
  if (!text) return text.error();
  auto wanted = policy::FromApi(*text, present);
  if (!wanted) return MakeError(Reason::kConfigInvalid, file.string() + ": " + wanted.error().message);
  return wanted;
}

}  // namespace

Status PutInitialPolicy(store::Store& store, const std::filesystem::path& file) {
  const auto present = store.GetPolicy();
  if (!present) return present.error();
  if (!present->partners.empty() || file.empty()) return Ok();
  const auto wanted = Read(file, *present);
  if (!wanted) return wanted.error();
  const Status put = store.ChangePolicy(*present, policy::FindDifference(*present, *wanted).edit);
  if (put) {
    log::info("first policy, from {}: {} partners, {} relays", file.string(), wanted->partners.size(),
              wanted->relays.size());
  }
  return put;
}

Status CheckInitialPolicy(const std::filesystem::path& file) {
  std::error_code ignored;
  if (file.empty() || !std::filesystem::exists(file, ignored)) return Ok();
  const auto wanted = Read(file, {});
  return wanted ? Ok() : Status(wanted.error());
}

}  // namespace hallmark
