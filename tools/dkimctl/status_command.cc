#include <algorithm>

#include "hallmark/admin/v1/certificates.grpc.pb.h"
#include "tools/dkimctl/certificate_table.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

std::string Facts(const admin::v1::GetStatusResponse& status) {
  Table table;
  table.Add({"box:", status.box()});
  table.Add({"version:", status.version()});
  table.Add({"running since:", TimeText(status.start_time())});
  table.Add({"domains:", std::to_string(status.domain_count())});
  table.Add({"active keys:", std::to_string(status.active_key_count())});
  table.Add({"signed:", std::to_string(status.signed_message_count())});
  table.Add({"refused:", std::to_string(status.refused_message_count())});
  table.Add({"in flight:", std::to_string(status.messages_in_flight())});
  return table.Render();
}

std::string Code(std::uint64_t token_code) {
  char text[32];
  std::snprintf(text, sizeof text, " (CK_RV 0x%llx)", static_cast<unsigned long long>(token_code));
  return token_code == 0 ? "" : text;
}

std::string Tokens(const admin::v1::GetStatusResponse& status) {
  // A group is told only where it is not the token itself.
  const bool groups = std::any_of(status.tokens().begin(), status.tokens().end(), [](const auto& token) {
    return !token.group().empty() && token.group() != token.name();
  });
  Table table(groups ? Table({"TOKEN", "GROUP", "STATE", "SESSIONS", "STARTS", "LABEL", "SERIAL", "MODEL"})
                     : Table({"TOKEN", "STATE", "SESSIONS", "STARTS", "LABEL", "SERIAL", "MODEL"}));
  std::string problems;
  for (const auto& token : status.tokens()) {
    std::vector<std::string> row = {token.name()};
    if (groups) row.push_back(token.group());
    for (std::string& text :
         std::vector<std::string>{NameOf(token.state()) + (token.drained() ? ", drained" : ""),
                                  std::to_string(token.sessions()), std::to_string(token.starts()), token.label(),
                                  token.serial(), token.manufacturer() + " " + token.model()}) {
      row.push_back(std::move(text));
    }
    table.Add(std::move(row));
    if (token.message().empty() && token.token_code() == 0) continue;
    for (const std::string& line :
         Wrap(OneLine(token.name() + ": " + token.message() + Code(token.token_code())), Table::kColumns)) {
      problems += line + "\n";
    }
  }
  return table.Render() + problems;
}

// An earlier version of signerd says nothing of it.
std::string Health(const admin::v1::GetStatusResponse& status) {
  Table table({"HEALTH", "LEVEL", "WHAT"});
  for (const auto& reading : status.health()) table.Add({reading.name(), NameOf(reading.level()), reading.message()});
  const std::string text = table.Render();
  return text.empty() ? text : text + "\n";
}

std::string Relays(const admin::v1::GetStatusResponse& status) {
  Table table({"RELAY", "STATE", "IDENTITY", "PARTNERS"});
  for (const auto& relay : status.relays()) {
    std::string partners;
    for (const std::string& partner : relay.partners()) partners += (partners.empty() ? "" : ", ") + partner;
    table.Add({relay.name(), NameOf(relay.state()), relay.identity(), partners});
  }
  return table.Render();
}

Json Form(const admin::v1::GetStatusResponse& status, const Answer<admin::v1::ListCertificatesResponse>& certificates) {
  Json form = Json::Message(status);
  if (!certificates) return form;
  Json all = Json::Array(), files = Json::Array();
  for (const auto& entry : certificates->certificates()) all.Add(Json::Message(entry));
  for (const auto& entry : certificates->files()) files.Add(Json::Message(entry));
  return form.Extend("certificates", all).Extend("certificate_files", files);
}

Outcome Show(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto status = client->Call(&AdminClient::Stub::GetStatus, admin::v1::GetStatusRequest());
  if (!status) return status.error();
  // A signerd of an earlier version has no such service; its status is shown all the same.
  const auto certificates =
      client->Call(&admin::v1::CertificateService::Stub::ListCertificates, admin::v1::ListCertificatesRequest());
  const std::string expiring = certificates ? CertificateTable(*certificates, false) : "";
  Print(context,
        Facts(*status) + "\n" + Tokens(*status) + "\n" + Health(*status) + Relays(*status) +
            (expiring.empty() ? "" : "\n" + expiring),
        Form(*status, certificates));
  if (certificates || certificates.error().unknown_call) return ExitCode::kDone;
  Failure failure = certificates.error();
  failure.message = "the certificates are not known: " + failure.message;
  return failure;
}

}  // namespace

void AddStatusCommand(CLI::App& app, Context& context) {
  CLI::App* status = AddCommand(app, context, "status", "How the daemon, its tokens and relays are",
                                "dkimctl status\ndkimctl status --output json", [&context] { return Show(context); });
  AddTimeout(*status, context);
}

}  // namespace hallmark::ctl
