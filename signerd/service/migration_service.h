#pragma once

#include <grpcpp/grpcpp.h>

#include "hallmark/admin/v1/migration.grpc.pb.h"
#include "signerd/keys/key_manager.h"
#include "signerd/service/admin_gate.h"

namespace hallmark::service {

// hallmark.admin.v1.MigrationService. Calls come in by the AdminGate. Private keys pass through wrapped; what they are
// wrapped with is in the token, or in tokend.
class MigrationService final : public hallmark::admin::v1::MigrationService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    keys::KeyManager& keys;
  };
  explicit MigrationService(const Parts& parts) : parts_(parts) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* BeginImport(Context*, const hallmark::admin::v1::BeginImportRequest*,
                       hallmark::admin::v1::BeginImportResponse*) override;
  Reactor* ImportKey(Context*, const hallmark::admin::v1::ImportKeyRequest*, hallmark::admin::v1::Key*) override;

 private:
  const Parts parts_;
};

}  // namespace hallmark::service
