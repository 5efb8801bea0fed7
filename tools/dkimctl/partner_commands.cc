#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

using Stub = admin::v1::PolicyService::Stub;
using admin::v1::Partner;
using admin::v1::PartnerStatus;

struct Options {
  std::string name;
  bool yes = false;
};

template <class List>
std::string Listed(const List& list, const char* none) {
  std::string text;
  for (const std::string& entry : list) text += (text.empty() ? "" : ", ") + entry;
  return text.empty() ? none : text;
}

// "120 of 1000".
std::string Of(std::uint64_t count, std::uint64_t most) {
  return std::to_string(count) + (most == 0 ? "" : " of " + std::to_string(most));
}

std::string Limit(std::uint64_t number, const std::string& unit) {
  return number == 0 ? "no limit" : std::to_string(number) + unit;
}

std::string Rate(const admin::v1::Quota& quota) {
  if (quota.rate_per_second() == 0) return "no limit";
  const auto burst = quota.burst() == 0 ? quota.rate_per_second() : quota.burst();
  return std::to_string(quota.rate_per_second()) + " a second, " + std::to_string(burst) + " at once";
}

std::string Fields(const admin::v1::MessageRules& rules) {
  std::string text;
  if (rules.forbid_bcc()) text += "no Bcc";
  if (rules.require_date()) text += (text.empty() ? "" : ", ") + std::string("a Date");
  if (rules.require_message_id()) text += (text.empty() ? "" : ", ") + std::string("a Message-ID");
  return text.empty() ? "as they are" : text;
}

std::string Facts(const PartnerStatus& status) {
  const Partner& partner = status.partner();
  Table table;
  table.Add({"partner:", partner.name()});
  table.Add({"state:", NameOf(partner.state())});
  table.Add({"relays:", Listed(status.relays(), "none")});
  table.Add({"author domains:", Listed(partner.author_domains(), "none")});
  table.Add({"signing domains:", Listed(partner.signing_domains(), "none")});
  table.Add({"addresses:", Listed(partner.addresses(), "any")});
  table.Add({"alignment:", NameOf(partner.alignment())});
  table.Add({"valid from:", partner.has_not_before() ? TimeText(partner.not_before()) : "ever"});
  table.Add({"valid until:", partner.has_not_after() ? TimeText(partner.not_after()) : "ever"});
  table.Add({"header fields:", Fields(partner.message())});
  table.Add({"size:", Limit(partner.message().max_octets(), " octets")});
  table.Add({"rate:", Rate(partner.quota())});
  table.Add({"messages today:", Of(status.messages_today(), partner.quota().messages_per_day())});
  table.Add({"recipients today:", Of(status.recipients_today(), partner.quota().recipients_per_day())});
  table.Add({"recipients:", Limit(partner.quota().recipients_per_message(), " a message")});
  table.Add({"weight:", std::to_string(partner.weight())});
  table.Add({"suspended on:", Listed(partner.watch().suspend_on(), "nothing")});
  table.Add({"hard limit:",
             Limit(static_cast<std::uint64_t>(partner.watch().hard_limit_per_minute()), " messages a minute")});
  return table.Render();
}

Outcome List(const Context& context) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  const auto answer = client->Call(&Stub::ListPartners, admin::v1::ListPartnersRequest());
  if (!answer) return answer.error();
  Table table({"PARTNER", "STATE", "MESSAGES TODAY", "RECIPIENTS TODAY", "RELAYS"});
  for (const PartnerStatus& status : answer->partners()) {
    const auto& quota = status.partner().quota();
    table.Add({status.partner().name(), NameOf(status.partner().state()),
               Of(status.messages_today(), quota.messages_per_day()),
               Of(status.recipients_today(), quota.recipients_per_day()), Listed(status.relays(), "none")});
  }
  Print(context, table.Render(), Json::Message(*answer));
  return ExitCode::kDone;
}

Outcome Show(const Context& context, const Options& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::GetPartnerRequest request;
  request.set_name(options.name);
  const auto status = client->Call(&Stub::GetPartner, request);
  if (!status) return status.error();
  Print(context, Facts(*status), Json::Message(*status));
  return ExitCode::kDone;
}

Outcome Set(const Context& context, const Options& options, admin::v1::PartnerState state) {
  if (state == admin::v1::PARTNER_STATE_REVOKED && !options.yes &&
      !Confirm("Revoke the partner " + options.name + "? Its messages are refused from now on.")) {
    return Failed("the partner " + options.name + " was not revoked; say --yes where nobody can be asked");
  }
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  admin::v1::SetPartnerStateRequest request;
  request.set_name(options.name);
  request.set_state(state);
  const auto status = client->Call(&Stub::SetPartnerState, request);
  if (!status) return status.error();
  Print(context, "partner " + status->partner().name() + " is " + NameOf(status->partner().state()) + "\n",
        Json::Message(*status));
  return ExitCode::kDone;
}

}  // namespace

void AddPartnerCommands(CLI::App& app, Context& context) {
  CLI::App* group = AddGroup(app, "partner", "Partners: who may send what",
                             "dkimctl partner list\ndkimctl partner show acme\ndkimctl partner suspend acme");
  const auto options = std::make_shared<Options>();

  CLI::App* list =
      AddCommand(*group, context, "list", "List the partners, with today's volumes",
                 "dkimctl partner list\ndkimctl partner list --output json", [&context] { return List(context); });
  AddTimeout(*list, context);

  CLI::App* show = AddCommand(*group, context, "show", "Show what a partner may do and has sent",
                              "dkimctl partner show acme", [&context, options] { return Show(context, *options); });
  show->add_option("NAME", options->name, "The partner")->required()->type_name("");
  AddTimeout(*show, context);

  struct Verb {
    const char *name, *description;
    admin::v1::PartnerState state;
  };
  for (const Verb& verb :
       {Verb{"suspend", "Sign nothing for a partner until it is resumed", admin::v1::PARTNER_STATE_SUSPENDED},
        Verb{"resume", "Sign for a suspended partner again", admin::v1::PARTNER_STATE_ACTIVE},
        Verb{"revoke", "Sign nothing for a partner any more", admin::v1::PARTNER_STATE_REVOKED}}) {
    CLI::App* command =
        AddCommand(*group, context, verb.name, verb.description, std::string("dkimctl partner ") + verb.name + " acme",
                   [&context, options, state = verb.state] { return Set(context, *options, state); });
    command->add_option("NAME", options->name, "The partner")->required()->type_name("");
    if (verb.state == admin::v1::PARTNER_STATE_REVOKED) {
      command->add_flag("--yes", options->yes, "Without being asked");
    }
    AddTimeout(*command, context);
  }
}

}  // namespace hallmark::ctl
