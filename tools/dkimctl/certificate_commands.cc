#include <algorithm>
#include <filesystem>

#include "firmware/runtime/file.h"
#include "hallmark/admin/v1/certificates.grpc.pb.h"
#include "tools/dkimctl/certificate_table.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using Stub = api::CertificateService::Stub;

constexpr std::size_t kMostPem = 1u << 20;

struct Options {
  std::string certificate, reason;
  bool yes = false;
};

bool IsFingerprint(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return c != ':'; }) == 64 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0 || c == ':'; });
}

Answer<api::RevokeCertificateRequest> MakeRequest(const Options& options) {
  api::RevokeCertificateRequest request;
  request.set_reason(options.reason);
  if (IsFingerprint(options.certificate)) {
    request.set_fingerprint(options.certificate);
    return request;
  }
  auto pem = ReadFile(options.certificate, kMostPem);
  if (!pem) return FromError(pem.error());
  // Whoever names the wrong file must not send a key away.
  if (pem->find("PRIVATE KEY") != std::string::npos) {
    return Failed(options.certificate + " holds a private key; name the file of the certificate alone");
  }
  request.set_pem(std::move(*pem));
  return request;
}

Outcome Revoke(const Context& context, const Options& options) {
  const auto request = MakeRequest(options);
  if (!request) return request.error();
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (!options.yes && !Confirm("Refuse " + options.certificate + " from its next call on?")) {
    return Failed("revoking cuts a relay or an operator off at once; say --yes");
  }
  const auto revoked = client->Call(&Stub::RevokeCertificate, *request);
  if (!revoked) return revoked.error();
  Print(context, "revoked " + revoked->fingerprint() + "\n", Json::Message(*revoked));
  return ExitCode::kDone;
}

Outcome Unrevoke(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  if (!options.yes && !Confirm("Let the certificate " + options.certificate + " in again?")) {
    return Failed("this gives a right back that was taken away; say --yes");
  }
  api::UnrevokeCertificateRequest request;
  request.set_fingerprint(options.certificate);
  const auto done = client->Call(&Stub::UnrevokeCertificate, request);
  if (!done) return done.error();
  Print(context, "no longer revoked: " + options.certificate + "\n",
        Json::Object().Set("fingerprint", Json::Text(options.certificate)));
  return ExitCode::kDone;
}

std::string RevokedTable(const api::ListRevokedCertificatesResponse& answer) {
  Table table({"REVOKED", "FINGERPRINT (SHA-256)", "BY", "REASON"});
  for (const auto& entry : answer.certificates()) {
    table.Add({TimeText(entry.revoke_time()), entry.fingerprint(), entry.revoked_by(), entry.reason()});
  }
  return table.Render();
}

Outcome List(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto all = client->Call(&Stub::ListCertificates, api::ListCertificatesRequest());
  if (!all) return all.error();
  const auto revoked = client->Call(&Stub::ListRevokedCertificates, api::ListRevokedCertificatesRequest());
  if (!revoked) return revoked.error();
  const std::string list = RevokedTable(*revoked);
  Json certificates = Json::Array(), files = Json::Array(), revocations = Json::Array();
  for (const auto& entry : all->certificates()) certificates.Add(Json::Message(entry));
  for (const auto& entry : all->files()) files.Add(Json::Message(entry));
  for (const auto& entry : revoked->certificates()) revocations.Add(Json::Message(entry));
  Print(context, CertificateTable(*all, true) + (list.empty() ? "" : "\n" + list),
        Json::Object()
            .Set("certificates", std::move(certificates))
            .Set("files", std::move(files))
            .Set("revoked", std::move(revocations)));
  return ExitCode::kDone;
}

}  // namespace

void AddCertificateCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "certificate", "Revocation and expiry of certificates", "dkimctl certificate list");
  const auto options = std::make_shared<Options>();

  CLI::App* list = AddCommand(*group, context, "list", "List certificates by expiry, and the revoked",
                              "dkimctl certificate list\ndkimctl certificate list --output json",
                              [&context] { return List(context); });
  AddTimeout(*list, context);

  CLI::App* revoke = AddCommand(*group, context, "revoke", "Refuse a client certificate at once",
                                "dkimctl certificate revoke relay1.pem --reason \"disk stolen\"\n"
                                "dkimctl certificate revoke FINGERPRINT --yes",
                                [&context, options] { return Revoke(context, *options); });
  revoke->add_option("CERTIFICATE", options->certificate, "Its PEM file or SHA-256 fingerprint")
      ->required()
      ->type_name("");
  revoke->add_option("--reason", options->reason, "Why, for the record")->type_name("TEXT");
  revoke->add_flag("--yes", options->yes, "Do not ask");
  AddTimeout(*revoke, context);

  CLI::App* unrevoke = AddCommand(*group, context, "unrevoke", "Let a revoked certificate in again",
                                  "dkimctl certificate unrevoke FINGERPRINT",
                                  [&context, options] { return Unrevoke(context, *options); });
  unrevoke->add_option("FINGERPRINT", options->certificate, "SHA-256, as certificate list shows it")
      ->required()
      ->type_name("");
  unrevoke->add_flag("--yes", options->yes, "Do not ask");
  AddTimeout(*unrevoke, context);
}

}  // namespace hallmark::ctl
