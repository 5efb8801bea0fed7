#include "signerd/service/admin_convert.h"

#include <algorithm>
#include <cstdlib>

#include "signerd/dkim/profile.h"
#include "signerd/policy/etag.h"

namespace hallmark::service {
namespace {

namespace admin = hallmark::admin::v1;

constexpr std::int32_t kDefaultPage = 1000;
constexpr std::int32_t kLargestPage = 10'000;

google::protobuf::Timestamp ToApi(std::chrono::sys_seconds time) {
  google::protobuf::Timestamp stamp;
  stamp.set_seconds(time.time_since_epoch().count());
  return stamp;
}

admin::KeyAlgorithm AlgorithmOf(const dkim::PublicKey& key) {
  switch (key.algorithm()) {
    case dkim::Algorithm::kEd25519Sha256: return admin::KEY_ALGORITHM_ED25519;
    case dkim::Algorithm::kRsaSha256: break;
  }
  switch (key.bits()) {
    case 2048: return admin::KEY_ALGORITHM_RSA_2048;
    case 3072: return admin::KEY_ALGORITHM_RSA_3072;
    case 4096: return admin::KEY_ALGORITHM_RSA_4096;
    default: return admin::KEY_ALGORITHM_UNSPECIFIED;  // an adopted key of another size
  }
}

std::string_view NameOf(dkim::Canonicalization canonicalization) {
  return canonicalization == dkim::Canonicalization::kSimple ? "simple" : "relaxed";
}

Result<dkim::Canonicalization> CanonicalizationFrom(const std::string& name, const char* field) {
  if (name.empty() || name == "relaxed") return dkim::Canonicalization::kRelaxed;
  if (name == "simple") return dkim::Canonicalization::kSimple;
  return MakeError(Reason::kInvalidArgument, std::string(field) + ": expected simple or relaxed, found " + name);
}

template <class List>
void Override(const List& wanted, std::vector<std::string>& list) {
  if (!wanted.empty()) list.assign(wanted.begin(), wanted.end());
}

Status CheckProfileName(const std::string& name) {
  const bool valid = !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  if (!valid)
    return MakeError(Reason::kInvalidArgument, "name: expected 1 to 63 lower-case letters, digits and hyphens");
  if (name == "default")
    return MakeError(Reason::kInvalidArgument, "name: the profile default is built in and cannot be changed");
  return Ok();
}

admin::TokenState StateOf(link::TokenState state) {
  switch (state) {
    case link::TokenState::kStarting: return admin::TOKEN_STATE_STARTING;
    case link::TokenState::kReady: return admin::TOKEN_STATE_READY;
    case link::TokenState::kAbsent: return admin::TOKEN_STATE_ABSENT;
    case link::TokenState::kPinRejected: return admin::TOKEN_STATE_PIN_REJECTED;
    case link::TokenState::kDown: return admin::TOKEN_STATE_DOWN;
  }
  return admin::TOKEN_STATE_UNSPECIFIED;
}

}  // namespace

admin::KeyState ToApi(snapshot::KeyState state) {
  switch (state) {
    case snapshot::KeyState::kGenerated: return admin::KEY_STATE_GENERATED;
    case snapshot::KeyState::kPublished: return admin::KEY_STATE_PUBLISHED;
    case snapshot::KeyState::kReady: return admin::KEY_STATE_READY;
    case snapshot::KeyState::kActive: return admin::KEY_STATE_ACTIVE;
    case snapshot::KeyState::kRetiring: return admin::KEY_STATE_RETIRING;
    case snapshot::KeyState::kRevoked: return admin::KEY_STATE_REVOKED;
    case snapshot::KeyState::kWithdrawn: return admin::KEY_STATE_WITHDRAWN;
    case snapshot::KeyState::kDestroyed: return admin::KEY_STATE_DESTROYED;
  }
  std::abort();  // Unreachable: states come only from this program and its own database.
}

admin::RecordState ToApi(snapshot::RecordState state) {
  switch (state) {
    case snapshot::RecordState::kAbsent: return admin::RECORD_STATE_ABSENT;
    case snapshot::RecordState::kRumoured: return admin::RECORD_STATE_RUMOURED;
    case snapshot::RecordState::kVisible: return admin::RECORD_STATE_VISIBLE;
    case snapshot::RecordState::kUnretentive: return admin::RECORD_STATE_UNRETENTIVE;
  }
  std::abort();  // Unreachable, as above.
}

admin::Domain ToApi(const store::DomainRow& row) {
  admin::Domain domain;
  domain.set_name(row.name);
  domain.set_profile(row.profile);
  *domain.mutable_create_time() = ToApi(row.created);
  domain.set_active_key_count(static_cast<std::int32_t>(row.active_keys));
  return domain;
}

admin::Key ToApi(const snapshot::Key& key) {
  admin::Key out;
  out.set_domain(key.domain);
  out.set_selector(key.selector);
  out.set_algorithm(AlgorithmOf(*key.public_key));
  out.set_state(ToApi(key.state));
  out.set_token(key.token);
  out.set_cka_id(key.cka_id.data(), key.cka_id.size());
  const Bytes spki = key.public_key->Spki();
  out.set_public_key(spki.data(), spki.size());
  *out.mutable_create_time() = ToApi(key.created);
  *out.mutable_state_time() = ToApi(key.state_since);
  out.set_record_state(ToApi(key.record));
  out.set_exposed(key.exposed);
  return out;
}

admin::SigningProfile ToApi(const dkim::SigningProfile& profile) {
  admin::SigningProfile out;
  out.set_name(profile.name);
  out.set_header_canonicalization(std::string(NameOf(profile.header)));
  out.set_body_canonicalization(std::string(NameOf(profile.body)));
  for (const auto& field : profile.signed_fields) out.add_signed_fields(field);
  for (const auto& field : profile.oversigned_fields) out.add_oversigned_fields(field);
  for (const auto& field : profile.excluded_fields) out.add_excluded_fields(field);
  out.set_line_endings(profile.line_endings == dkim::LineEndings::kRefuse ? admin::LINE_ENDINGS_REFUSE
                                                                          : admin::LINE_ENDINGS_NORMALIZE);
  out.set_auid(profile.auid);
  out.set_expires_after_seconds(profile.expires_after.value_or(std::chrono::seconds(0)).count());
  out.set_omit_timestamp(!profile.timestamp);
  out.set_query_method(profile.query_method);
  out.set_copied_fields(profile.copied_fields);
  out.set_body_length(profile.body_length);
  out.set_etag(policy::EtagOf(out));
  return out;
}

admin::Token ToApi(const tokens::TokenFacts& facts) {
  admin::Token out;
  out.set_name(facts.name);
  out.set_state(StateOf(facts.status.state));
  out.set_message(facts.status.state == link::TokenState::kReady ? "" : facts.status.message);
  out.set_label(facts.status.label);
  out.set_serial(facts.status.serial);
  out.set_manufacturer(facts.status.manufacturer);
  out.set_model(facts.status.model);
  out.set_sessions(static_cast<std::int32_t>(facts.status.sessions));
  out.set_starts(facts.starts);
  out.set_token_code(facts.status.token_code);
  out.set_group(facts.group);
  out.set_drained(facts.sick);
  return out;
}

Result<keys::KeySpec> FromApi(admin::KeyAlgorithm algorithm) {
  switch (algorithm) {
    case admin::KEY_ALGORITHM_RSA_2048: return keys::KeySpec{dkim::Algorithm::kRsaSha256, 2048};
    case admin::KEY_ALGORITHM_RSA_3072: return keys::KeySpec{dkim::Algorithm::kRsaSha256, 3072};
    case admin::KEY_ALGORITHM_RSA_4096: return keys::KeySpec{dkim::Algorithm::kRsaSha256, 4096};
    case admin::KEY_ALGORITHM_ED25519: return keys::KeySpec{dkim::Algorithm::kEd25519Sha256, 0};
    default: return MakeError(Reason::kInvalidArgument, "algorithm: expected RSA_2048, RSA_3072, RSA_4096 or ED25519");
  }
}

Result<dkim::SigningProfile> FromApi(const admin::SigningProfile& in) {
  const Status named = CheckProfileName(in.name());
  if (!named) return named.error();
  dkim::SigningProfile profile = dkim::DefaultProfile();
  profile.name = in.name();
  const auto header = CanonicalizationFrom(in.header_canonicalization(), "header_canonicalization");
  if (!header) return header.error();
  profile.header = *header;
  const auto body = CanonicalizationFrom(in.body_canonicalization(), "body_canonicalization");
  if (!body) return body.error();
  profile.body = *body;
  Override(in.signed_fields(), profile.signed_fields);
  Override(in.oversigned_fields(), profile.oversigned_fields);
  Override(in.excluded_fields(), profile.excluded_fields);
  profile.line_endings =
      in.line_endings() == admin::LINE_ENDINGS_REFUSE ? dkim::LineEndings::kRefuse : dkim::LineEndings::kNormalize;
  profile.auid = in.auid();
  profile.expires_after.reset();
  if (in.expires_after_seconds() != 0) profile.expires_after = std::chrono::seconds(in.expires_after_seconds());
  profile.timestamp = !in.omit_timestamp();
  profile.query_method = in.query_method();
  profile.copied_fields = in.copied_fields();
  profile.body_length = in.body_length();
  const Status valid = dkim::ValidateProfile(profile);
  if (!valid) return valid.error();
  return profile;
}

Result<store::Page> PageFrom(std::int32_t page_size, const std::string& page_token) {
  if (page_size < 0 || page_size > kLargestPage) {
    return MakeError(Reason::kInvalidArgument, "page_size: expected 0 to " + std::to_string(kLargestPage));
  }
  return store::Page{page_token, page_size == 0 ? kDefaultPage : page_size};
}

}  // namespace hallmark::service
