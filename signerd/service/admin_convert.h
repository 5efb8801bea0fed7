#pragma once

#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/admin.pb.h"
#include "signerd/dkim/types.h"
#include "signerd/keys/key_manager.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/store/store.h"
#include "signerd/tokens/token_set.h"

// Between the Admin API's messages and our own types.
namespace hallmark::service {

hallmark::admin::v1::Domain ToApi(const store::DomainRow& row);
hallmark::admin::v1::Key ToApi(const snapshot::Key& key);
hallmark::admin::v1::SigningProfile ToApi(const dkim::SigningProfile& profile);
hallmark::admin::v1::Token ToApi(const tokens::TokenFacts& facts);
hallmark::admin::v1::KeyState ToApi(snapshot::KeyState state);
hallmark::admin::v1::RecordState ToApi(snapshot::RecordState state);

// kInvalidArgument names the field.
Result<keys::KeySpec> FromApi(hallmark::admin::v1::KeyAlgorithm algorithm);
// Checked, and with the built-in lists where the request leaves a list empty.
Result<dkim::SigningProfile> FromApi(const hallmark::admin::v1::SigningProfile& profile);

// Where a listing goes on.
Result<store::Page> PageFrom(std::int32_t page_size, const std::string& page_token);

}  // namespace hallmark::service
