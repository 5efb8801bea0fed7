#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <vector>

#include "firmware/runtime/clock.h"
#include "firmware/runtime/result.h"
#include "hallmark/admin/v1/admin.grpc.pb.h"
#include "signerd/health/health.h"
#include "signerd/keys/presence.h"
#include "signerd/keys/rotator.h"
#include "signerd/pipeline/pipeline.h"
#include "signerd/service/admin_gate.h"
#include "signerd/snapshot/snapshot.h"
#include "signerd/store/store.h"
#include "signerd/tokens/token_set.h"

namespace hallmark::service {

namespace admin = hallmark::admin::v1;

// hallmark.admin.v1.AdminService: domains, keys, signing profiles, DNS records, status. Calls come in by the AdminGate.
class AdminService final : public admin::AdminService::CallbackService {
 public:
  struct Parts {
    AdminGate& gate;
    store::Store& store;
    keys::KeyManager& keys;
    keys::Rotator& rotator;
    const snapshot::Current& snapshot;
    const pipeline::Pipeline& pipeline;
    tokens::TokenSet& tokens;
    const health::Health& health;
    const Clock& clock;
    std::function<Status()> publish;                      // makes the store's state the current snapshot
    std::function<void(const std::string& domain)> poke;  // has its rotation looked at soon
    std::string version;
    std::string box;  // its host name
    const keys::Presence& presence;
  };
  // Says to the gate how approved requests are carried out.
  explicit AdminService(const Parts& parts);

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
  Reactor* RevokeKey(Context*, const admin::RevokeKeyRequest*, admin::Key*) override;
  Reactor* CreateSigningProfile(Context*, const admin::CreateSigningProfileRequest*, admin::SigningProfile*) override;
  Reactor* GetSigningProfile(Context*, const admin::GetSigningProfileRequest*, admin::SigningProfile*) override;
  Reactor* ListSigningProfiles(Context*, const admin::ListSigningProfilesRequest*,
                               admin::ListSigningProfilesResponse*) override;
  Reactor* UpdateSigningProfile(Context*, const admin::UpdateSigningProfileRequest*, admin::SigningProfile*) override;
  Reactor* GetDnsRecords(Context*, const admin::GetDnsRecordsRequest*, admin::GetDnsRecordsResponse*) override;
  Reactor* GetStatus(Context*, const admin::GetStatusRequest*, admin::GetStatusResponse*) override;

 private:
  // The name of a profile that exists and can sign for the domain; an empty one is "default".
  Result<std::string> ProfileFor(const std::string& domain, const std::string& name);
  Status CheckFitsItsDomains(const dkim::SigningProfile& profile) const;
  Status UpdateProfile(const admin::SigningProfile& wanted, admin::SigningProfile* response);
  Status ReadDomain(const std::string& name, admin::Domain* domain);
  // With the tokens of its group that do not have it, asked now.
  Status GiveWithTokens(const Result<snapshot::Key>& key, admin::Key* response);
  Status DoRevokeKey(const Caller& caller, const admin::RevokeKeyRequest& request, admin::Key* response);
  Status PublishAndRead(const std::string& name, admin::Domain* domain);

  const Parts parts_;
  const std::chrono::sys_seconds started_;
};

}  // namespace hallmark::service
