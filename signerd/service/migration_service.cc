#include "signerd/service/migration_service.h"

#include "signerd/dkim/author.h"
#include "signerd/service/admin_convert.h"

namespace hallmark::service {
namespace {

namespace api = hallmark::admin::v1;

Bytes ToBytes(const std::string& octets) {
  const ByteView view = AsBytes(octets);
  return {view.begin(), view.end()};
}

}  // namespace

MigrationService::Reactor* MigrationService::BeginImport(Context* context, const api::BeginImportRequest* request,
                                                         api::BeginImportResponse* response) {
  return parts_.gate.Run(context, {"BeginImport", Role::kOperator}, *request, [=, this](const Caller&) -> Status {
    const auto begun = parts_.keys.BeginImport(request->token());
    if (!begun) return begun.error();
    response->set_token(begun->token);
    response->set_wrapping_key(std::string(AsText(begun->spki)));
    return Ok();
  });
}

// Needs no second person: the key signs nothing until it is activated, which is an act of its own.
MigrationService::Reactor* MigrationService::ImportKey(Context* context, const api::ImportKeyRequest* request,
                                                       api::Key* response) {
  return parts_.gate.Run(context, {"ImportKey", Role::kOperator}, *request, [=, this](const Caller&) -> Status {
    const auto domain = dkim::NormalizeDomain(request->domain());
    if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
    const auto key = parts_.keys.Import(*domain, request->selector(), request->token(),
                                        {ToBytes(request->wrapping_key_sha256()), ToBytes(request->wrapped_secret()),
                                         ToBytes(request->wrapped_key()), ToBytes(request->public_key())});
    if (!key) return key.error();
    *response = ToApi(*key);
    return Ok();
  });
}

}  // namespace hallmark::service
