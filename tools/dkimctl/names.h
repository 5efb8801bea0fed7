#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <optional>
#include <string>
#include <string_view>

#include "hallmark/admin/v1/admin.pb.h"
#include "hallmark/admin/v1/appliance.pb.h"
#include "hallmark/admin/v1/operators.pb.h"
#include "hallmark/admin/v1/policy.pb.h"
#include "hallmark/signing/v1/signing.pb.h"

// How the API's enumerators and times are written on the command line and in tables.
namespace hallmark::ctl {

std::string NameOf(admin::v1::KeyAlgorithm algorithm);  // "rsa2048", "ed25519"
std::string NameOf(admin::v1::KeyState state);          // "active"
std::string NameOf(admin::v1::RecordState state);       // "visible"
std::string NameOf(admin::v1::TokenState state);        // "pin rejected"
std::string NameOf(admin::v1::HealthLevel level);       // "warning"
std::string NameOf(admin::v1::LineEndings endings);     // "refuse"

std::string NameOf(admin::v1::PartnerState state);   // "suspended"
std::string NameOf(admin::v1::RelayState state);     // "revoked"
std::string NameOf(admin::v1::Alignment alignment);  // "relaxed"

std::string NameOf(admin::v1::Role role);            // "officer"
std::string NameOf(admin::v1::OperatorState state);  // "enrolled"
std::string NameOf(admin::v1::ApprovalState state);  // "waiting"

// As a= has it: "rsa-sha256". Of a newer signerd's that is not known here: "unknown".
std::string NameOf(signing::v1::Algorithm algorithm);

// nullopt when there is no such role.
std::optional<admin::v1::Role> RoleByName(std::string_view name);
// nullopt when there is no such algorithm.
std::optional<admin::v1::KeyAlgorithm> KeyAlgorithmByName(std::string_view name);

bool IsActive(const admin::v1::Key& key);
bool IsActiveRsa(const admin::v1::Key& key);
// The warning where only Ed25519 keys of a domain are active.
std::string Ed25519AloneText(const std::string& domain);

// "2026-01-31 12:00:00Z"; "" when it is not set.
std::string TimeText(const google::protobuf::Timestamp& time);

}  // namespace hallmark::ctl
