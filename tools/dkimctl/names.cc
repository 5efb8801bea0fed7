#include "tools/dkimctl/names.h"

#include <algorithm>
#include <ctime>

namespace hallmark::ctl {
namespace {

// An enumerator's name without its type's prefix, in lower case.
std::string ShortName(const std::string& name, std::string_view prefix) {
  std::string text = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    if (c == '_') return ' ';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text.empty() ? "unknown" : text;
}

}  // namespace

std::string NameOf(admin::v1::KeyAlgorithm algorithm) {
  std::string name = ShortName(admin::v1::KeyAlgorithm_Name(algorithm), "KEY_ALGORITHM_");
  name.erase(std::remove(name.begin(), name.end(), ' '), name.end());
  return name;
}

std::string NameOf(admin::v1::KeyState state) { return ShortName(admin::v1::KeyState_Name(state), "KEY_STATE_"); }
std::string NameOf(admin::v1::RecordState state) {
  return ShortName(admin::v1::RecordState_Name(state), "RECORD_STATE_");
}
std::string NameOf(admin::v1::HealthLevel level) {
  return ShortName(admin::v1::HealthLevel_Name(level), "HEALTH_LEVEL_");
}

std::string NameOf(admin::v1::TokenState state) { return ShortName(admin::v1::TokenState_Name(state), "TOKEN_STATE_"); }

std::string NameOf(admin::v1::LineEndings endings) {
  if (endings == admin::v1::LINE_ENDINGS_UNSPECIFIED) endings = admin::v1::LINE_ENDINGS_NORMALIZE;
  return ShortName(admin::v1::LineEndings_Name(endings), "LINE_ENDINGS_");
}

std::string NameOf(admin::v1::PartnerState state) {
  return ShortName(admin::v1::PartnerState_Name(state), "PARTNER_STATE_");
}
std::string NameOf(admin::v1::RelayState state) { return ShortName(admin::v1::RelayState_Name(state), "RELAY_STATE_"); }
std::string NameOf(admin::v1::Alignment alignment) {
  return ShortName(admin::v1::Alignment_Name(alignment), "ALIGNMENT_");
}

std::string NameOf(admin::v1::Role role) { return ShortName(admin::v1::Role_Name(role), "ROLE_"); }
std::string NameOf(admin::v1::OperatorState state) {
  return ShortName(admin::v1::OperatorState_Name(state), "OPERATOR_STATE_");
}
std::string NameOf(admin::v1::ApprovalState state) {
  return ShortName(admin::v1::ApprovalState_Name(state), "APPROVAL_STATE_");
}

std::string NameOf(signing::v1::Algorithm algorithm) {
  std::string name = ShortName(signing::v1::Algorithm_Name(algorithm), "ALGORITHM_");
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::optional<admin::v1::Role> RoleByName(std::string_view name) {
  using namespace admin::v1;
  for (const Role role : {ROLE_AUDITOR, ROLE_OPERATOR, ROLE_OFFICER}) {
    if (NameOf(role) == name) return role;
  }
  return std::nullopt;
}

std::optional<admin::v1::KeyAlgorithm> KeyAlgorithmByName(std::string_view name) {
  using namespace admin::v1;
  for (const KeyAlgorithm algorithm :
       {KEY_ALGORITHM_RSA_2048, KEY_ALGORITHM_RSA_3072, KEY_ALGORITHM_RSA_4096, KEY_ALGORITHM_ED25519}) {
    if (NameOf(algorithm) == name) return algorithm;
  }
  return std::nullopt;
}

bool IsActive(const admin::v1::Key& key) { return key.state() == admin::v1::KEY_STATE_ACTIVE; }

bool IsActiveRsa(const admin::v1::Key& key) {
  return IsActive(key) && key.algorithm() != admin::v1::KEY_ALGORITHM_ED25519;
}

std::string Ed25519AloneText(const std::string& domain) {
  return "WARNING: " + domain +
         " is signed with Ed25519 alone: many receivers do not verify it, and take the mail for unsigned. "
         "Activate an RSA key beside it: dkimctl key generate " +
         domain;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "";
  const std::time_t seconds = static_cast<std::time_t>(time.seconds());
  std::tm parts{};
  char text[32];
  if (::gmtime_r(&seconds, &parts) == nullptr) return "";
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts)};
}

}  // namespace hallmark::ctl
