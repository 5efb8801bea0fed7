#pragma once

#include <boost/asio/thread_pool.hpp>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "hallmark/admin/v1/appliance.grpc.pb.h"
#include "signerd/backup/state_backup.h"
#include "signerd/keys/key_manager.h"
#include "signerd/ledger/ledger.h"
#include "signerd/service/admin_gate.h"
#include "signerd/service/stream_writer.h"

namespace hallmark::service {

// hallmark.admin.v1.ApplianceService. Calls come in by the AdminGate; a backup runs on a thread of its own.
class ApplianceService final : public hallmark::admin::v1::ApplianceService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    ledger::Ledger& ledger;
    store::Store& store;
    keys::Signer& signer;
    keys::KeyManager& keys;
    const Clock& clock;
    const backup::BackupSettings& backup;
    // Who signs the checkpoints, and who did before. Any thread.
    std::function<Result<ledger::VerifierKeys>()> verifier_keys;
    // Where a factory reset leaves its mark for the box; empty where there is no such box.
    std::filesystem::path reset_mark;
    // Puts a record on the ledger; it is durable on return. Waits for no second sink: what it tells of is done.
    std::function<Status(const hallmark::ledger::v1::Record&)> note;
    std::function<void()> stop_making_keys;  // nothing makes or uses one by itself any more
    std::function<void()> end;               // has the daemon end soon; does not wait
  };
  // Says to the gate how what was approved is carried out.
  explicit ApplianceService(Parts parts);
  ~ApplianceService() override { backups_.join(); }

  using Context = grpc::CallbackServerContext;
  grpc::ServerWriteReactor<hallmark::admin::v1::CreateBackupResponse>* CreateBackup(
      Context*, const hallmark::admin::v1::CreateBackupRequest*) override;
  grpc::ServerUnaryReactor* FactoryReset(Context*, const hallmark::admin::v1::FactoryResetRequest*,
                                         hallmark::admin::v1::FactoryResetResponse*) override;

 private:
  Status Backup(StreamWriter<hallmark::admin::v1::CreateBackupResponse>& out) const;
  Status NoteLeft(const Caller& caller, const std::vector<std::string>& left) const;
  // Destroys the keys, and leaves the mark.
  Status Erase(const Caller& caller, const std::set<std::string>& leave) const;
  Status Reset(const Caller& caller, const hallmark::admin::v1::FactoryResetRequest& request) const;

  const Parts parts_;
  boost::asio::thread_pool backups_{1};  // one at a time; more wait
};

}  // namespace hallmark::service
