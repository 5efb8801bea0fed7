#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/admin.grpc.pb.h"
#include "signerd/keys/key_manager.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/store/store.h"
#include "signerd/tokens/token_set.h"

namespace hallmark::service {

namespace admin = hallmark::admin::v1;

// hallmark.admin.v1.AdminService. Each call is carried out whole on one thread of its own, one after the other: they
// are few, they wait for the disk and the token, and none sees half of another's change.
class AdminService final : public admin::AdminService::CallbackService {
 public:
  struct Parts {
    store::Store& store;
    keys::KeyManager& keys;
    const snapshot::Current& snapshot;
    const pipeline::Pipeline& pipeline;
    tokens::TokenSet& tokens;
    const Clock& clock;
    std::function<Status()> publish;  // makes the store's state the current snapshot
    std::set<std::string> operators;  // identities that may call
    std::string version;
  };
  explicit AdminService(const Parts& parts) : parts_(parts), started_(parts.clock.Now()), thread_(1) {}
  ~AdminService() override { thread_.join(); }

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  Reactor* CreateDomain(Context*, const admin::CreateDomainRequest*, admin::Domain*) override;
  Reactor* GetDomain(Context*, const admin::GetDomainRequest*, admin::Domain*) override;
  Reactor* ListDomains(Context*, const admin::ListDomainsRequest*, admin::ListDomainsResponse*) override;
  Reactor* UpdateDomain(Context*, const admin::UpdateDomainRequest*, admin::Domain*) override;
  Reactor* GenerateKey(Context*, const admin::GenerateKeyRequest*, admin::Key*) override;
  Reactor* AdoptKey(Context*, const admin::AdoptKeyRequest*, admin::Key*) override;
  Reactor* GetKey(Context*, const admin::GetKeyRequest*, admin::Key*) override;
  Reactor* ListKeys(Context*, const admin::ListKeysRequest*, admin::ListKeysResponse*) override;
  Reactor* ActivateKey(Context*, const admin::ActivateKeyRequest*, admin::Key*) override;
  Reactor* RetireKey(Context*, const admin::RetireKeyRequest*, admin::Key*) override;
  Reactor* CreateSigningProfile(Context*, const admin::CreateSigningProfileRequest*, admin::SigningProfile*) override;
  Reactor* GetSigningProfile(Context*, const admin::GetSigningProfileRequest*, admin::SigningProfile*) override;
  Reactor* ListSigningProfiles(Context*, const admin::ListSigningProfilesRequest*,
                               admin::ListSigningProfilesResponse*) override;
  Reactor* UpdateSigningProfile(Context*, const admin::UpdateSigningProfileRequest*, admin::SigningProfile*) override;
  Reactor* GetDnsRecords(Context*, const admin::GetDnsRecordsRequest*, admin::GetDnsRecordsResponse*) override;
  Reactor* GetStatus(Context*, const admin::GetStatusRequest*, admin::GetStatusResponse*) override;

 private:
  // Runs `work` on the admin thread when the caller is an operator; its Status ends the call.
  Reactor* Run(Context* context, const char* what, std::function<Status()> work);
  Result<std::string> KnownProfile(const std::string& name);
  Status ReadDomain(const std::string& name, admin::Domain* domain);
  Status PublishAndRead(const std::string& name, admin::Domain* domain);

  const Parts parts_;
  const std::chrono::sys_seconds started_;
  boost::asio::thread_pool thread_;
};

}  // namespace hallmark::service
