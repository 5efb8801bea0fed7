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

std::vector<keys::WrappedKey> CopiesOf(const api::ImportKeyRequest& request) {
  const Bytes spki = ToBytes(request.public_key());
  if (request.copies().empty()) {
    return {{ToBytes(request.wrapping_key_sha256()), ToBytes(request.wrapped_secret()), ToBytes(request.wrapped_key()),
             spki, ""}};
  }
  std::vector<keys::WrappedKey> copies;
  for (const api::WrappedKey& copy : request.copies()) {
    copies.push_back({ToBytes(copy.wrapping_key_sha256()), ToBytes(copy.wrapped_secret()), ToBytes(copy.wrapped_key()),
                      spki, copy.token()});
  }
  return copies;
}

}  // namespace

MigrationService::Reactor* MigrationService::BeginImport(Context* context, const api::BeginImportRequest* request,
                                                         api::BeginImportResponse* response) {
  return parts_.gate.Run(context, {"BeginImport", Role::kOperator, Lane::kToken}, *request,
                         [=, this](const Caller&) -> Status {
                           const auto begun = parts_.keys.BeginImport(request->token());
                           if (!begun) return begun.error();
                           response->set_token(begun->token);
                           response->set_wrapping_key(std::string(AsText(begun->members.front().spki)));
                           if (begun->members.size() + begun->unable.size() == 1) return Ok();
                           for (const keys::WrappingKey& member : begun->members) {
                             api::WrappingKey& key = *response->add_members();
                             key.set_token(member.token);
                             key.set_public_key(std::string(AsText(member.spki)));
                           }
                           for (const auto& [token, why] : begun->unable) {
                             api::UnableToken& unable = *response->add_unable();
                             unable.set_token(token);
                             unable.set_message(why);
                           }
                           return Ok();
                         });
}

// Needs no second person: the key signs nothing until it is activated, which is an act of its own.
MigrationService::Reactor* MigrationService::ImportKey(Context* context, const api::ImportKeyRequest* request,
                                                       api::Key* response) {
  return parts_.gate.Run(
      context, {"ImportKey", Role::kOperator, Lane::kToken}, *request, [=, this](const Caller&) -> Status {
        const auto domain = dkim::NormalizeDomain(request->domain());
        if (!domain) return MakeError(domain.error().reason, "domain: " + domain.error().message);
        const auto key = parts_.keys.Import(*domain, request->selector(), request->token(), CopiesOf(*request));
        if (!key) return key.error();
        *response = ToApi(*key);
        for (const std::string& token : parts_.keys.TokensWithout(*key)) response->add_missing_tokens(token);
        return Ok();
      });
}

}  // namespace hallmark::service
