#include "firmware/provision/starter.h"

namespace hallmark::provision {
namespace {

std::string List(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "\"" : ", \"") + value + "\"";
  return "[" + text + "]";
}

std::string BoxToml(const Answers& answers) {
  std::string text =
      "# What a box is to be. hallmark-provision pack checks it, and signs it together with the files that it names.\n"
      "format = 1\n"
      "revision = 1                   # raise it when a box that is set up is to take a changed file\n"
      "host_name = \"" +
      answers.host_name +
      "\"\n"
      "# replaces = \"old.example.com\" # to give a box that is set up another name: the one that it has\n"
      "certificate_names = " +
      List(answers.certificate_names) +
      "    # what relays and operators call it by\n"
      "files = [\"hallmark.toml\", \"policy.toml\", \"tls/relay-ca.pem\", \"tls/admin-ca.pem\"]\n"
      "# With \"recipients.pem\" among the files, the holders of those certificates can open the state on another "
      "board.\n"
      "# time_servers = [\"ntp.example.com\"]\n\n";
  const Network& network = answers.network;
  if (network.addresses.empty()) {
    text +=
        "# [network]                    # without: DHCP\n"
        "# addresses = [\"192.0.2.10/24\"]\n# gateways = [\"192.0.2.1\"]\n# dns = [\"192.0.2.53\"]\n";
  } else {
    text += "[network]\naddresses = " + List(network.addresses) + "\n";
    if (!network.gateways.empty()) text += "gateways = " + List(network.gateways) + "\n";
    if (!network.dns.empty()) text += "dns = " + List(network.dns) + "\n";
  }
  text +=
      "\n# [token]                      # without: in software; see docs/tokens.md\n"
      "# kind = \"tpm\"                 # or \"smartcard\", \"module\"\n";
  for (const std::string& domain : answers.domains) {
    text +=
        "\n[[domain]]                     # its keys are made at the first start: RSA, and Ed25519 where the token has "
        "it\n"
        "name = \"" +
        domain + "\"\n";
  }
  return text;
}

std::string HallmarkToml(const Answers& answers) {
  return "# signerd reads this file: hallmark.toml(5). The box adds its token and the domains of box.toml.\n"
         "[signing]\n"
         "listen = \"0.0.0.0:8461\"\n"
         "certificate = \"tls/server.pem\"\n"
         "private_key = \"tls/server.key\"\n"
         "client_ca = \"tls/relay-ca.pem\"\n\n"
         "[admin]\n"
         "listen = \"0.0.0.0:8462\"\n"
         "certificate = \"tls/server.pem\"\n"
         "private_key = \"tls/server.key\"\n"
         "client_ca = \"tls/admin-ca.pem\"\n"
         "first_officers = " +
         List(answers.officers) +
         "\n\n"
         "[state]\n"
         "directory = \"/var/lib/hallmark\"\n"
         "initial_policy = \"policy.toml\"\n\n"
         "[metrics]\n"
         "listen = \"127.0.0.1:9461\"\n";
}

std::string PolicyToml(const Answers& answers) {
  return "# Who may sign what, for the first start. Later: dkimctl export > FILE, and dkimctl apply -f FILE.\n"
         "[[partner]]\n"
         "name = \"own\"\n"
         "author_domains = [\"*\"]\n"
         "signing_domains = [\"*\"]\n"
         "alignment = \"relaxed\"\n\n"
         "[[relay]]\n"
         "name = \"relay1\"\n"
         "identity = \"" +
         answers.relay +
         "\"\n"
         "partners = [\"own\"]\n";
}

}  // namespace

std::map<std::string, std::string> StarterFiles(const Answers& answers) {
  return {
      {"box.toml", BoxToml(answers)}, {"hallmark.toml", HallmarkToml(answers)}, {"policy.toml", PolicyToml(answers)}};
}

}  // namespace hallmark::provision
