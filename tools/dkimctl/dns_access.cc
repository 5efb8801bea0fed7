#include "tools/dkimctl/dns_access.h"

namespace hallmark::ctl {

Answer<std::shared_ptr<dns::Resolver>> OpenResolver(const std::string& nameserver) {
  dns::ResolverOptions wanted;
  if (!nameserver.empty()) {
    auto server = dns::ParseNameserver(nameserver);
    if (!server) return WrongUsage("--nameserver: " + server.error().message);
    wanted.nameserver = std::move(*server);
  }
  auto resolver = dns::Resolver::Create(wanted);
  if (!resolver) return FromError(resolver.error());
  return std::make_shared<dns::Resolver>(std::move(*resolver));
}

Answer<posture::Lookup> OpenLookup(const std::string& nameserver) {
  auto resolver = OpenResolver(nameserver);
  if (!resolver) return resolver.error();
  return posture::Lookup([resolver = std::move(*resolver)](const std::string& name, dns::RecordType type) {
    return resolver->Lookup(name, type);
  });
}

CLI::Option* AddNameserver(CLI::App& command, std::string& nameserver) {
  return command.add_option("--nameserver", nameserver, "Ask this one [/etc/resolv.conf]")->type_name("ADDR[:PORT]");
}

}  // namespace hallmark::ctl
