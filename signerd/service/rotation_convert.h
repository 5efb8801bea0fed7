#pragma once

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/rotation.pb.h"
#include "hallmark/ledger/v1/record.pb.h"
#include "signerd/keys/rotator.h"

// Between the Admin API's messages about rotation and our own types.
namespace hallmark::service {

hallmark::admin::v1::RotationPolicy ToApi(const store::RotationPolicy& policy);
hallmark::admin::v1::Rotation ToApi(const keys::RotationView& view);
hallmark::admin::v1::KeyEvent ToApi(const store::KeyEvent& event);

// An act that no call made: the method is "KeyStep", the request the event as JSON. `outcome` is "BEGUN" or "OK".
hallmark::ledger::v1::Record ToLedgerRecord(const store::KeyEvent& step, const std::string& outcome);

// Checked, and with the built-in values where a field is empty. Who waived the backup is not taken from the request.
// kInvalidArgument names the field.
Result<store::RotationPolicy> FromApi(const hallmark::admin::v1::RotationPolicy& policy);

}  // namespace hallmark::service
