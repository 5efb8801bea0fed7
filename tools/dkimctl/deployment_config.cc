#include "tools/dkimctl/deployment_config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <optional>

#include "firmware/runtime/file.h"

namespace hallmark::ctl {
namespace {

// A TOML basic string.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      quoted += std::string("\\u00") + kHex[static_cast<unsigned char>(c) >> 4] + kHex[c & 0x0f];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// What an RFC 7512 attribute may hold as it is; all else is percent-encoded.
std::string UriEncode(std::string_view text, std::string_view also) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos ||
                       also.find(c) != std::string_view::npos;
    if (plain) {
      encoded += c;
    } else {
      encoded += {'%', kHex[static_cast<unsigned char>(c) >> 4], kHex[c & 0x0f]};
    }
  }
  return encoded;
}

std::string ListenPort(const std::string& listen) { return listen.substr(listen.rfind(':') + 1); }

// Where a client of this machine reaches the listener.
std::string Reach(const std::string& listen) {
  const std::string address = ListenAddress(listen);
  if (address == "0.0.0.0") return "127.0.0.1:" + ListenPort(listen);
  if (address == "::") return "[::1]:" + ListenPort(listen);
  return listen;
}

std::string Listener(const std::string& name, const std::string& listen, const std::string& client_ca) {
  return "[" + name + "]\nlisten = " + Quote(listen) +
         "\ncertificate = \"tls/server.pem\"\nprivate_key = \"tls/server.key\"\nclient_ca = \"tls/" + client_ca +
         ".pem\"\n";
}

std::string Client(const std::string& name, const std::string& listen, const std::string& identity) {
  return "[" + name + "]\nserver = " + Quote(Reach(listen)) +
         "\nserver_name = \"localhost\"  # what the server's certificate must say\nca = "
         "\"tls/server-ca.pem\"\ncertificate = \"tls/" +
         identity + ".pem\"\nprivate_key = \"tls/" + identity + ".key\"\n";
}

// A port of `address` that is free now.
std::optional<std::uint16_t> FreePort(const std::string& address) {
  const bool v6 = address.find(':') != std::string::npos;
  const FileDescriptor socket(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  sockaddr_in four{};
  four.sin_family = AF_INET;
  if (::inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(),
                  v6 ? static_cast<void*>(&six.sin6_addr) : static_cast<void*>(&four.sin_addr)) != 1) {
    return std::nullopt;
  }
  auto* name = v6 ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&four);
  socklen_t size = v6 ? sizeof six : sizeof four;
  if (::bind(socket.get(), name, size) != 0 || ::getsockname(socket.get(), name, &size) != 0) return std::nullopt;
  return ntohs(v6 ? six.sin6_port : four.sin_port);
}

bool Parses(const std::string& text) {
  unsigned char octets[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, text.c_str(), octets) == 1 || ::inet_pton(AF_INET6, text.c_str(), octets) == 1;
}

}  // namespace

std::string ListenAddress(const std::string& listen) {
  std::string address = listen.substr(0, listen.rfind(':'));
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  return address;
}

bool IsAddress(const std::string& text) { return Parses(text) && text != "0.0.0.0" && text != "::"; }

Answer<std::string> ResolveListen(const std::string& listen) {
  const Failure wrong =
      WrongUsage("\"" + listen + "\" is no place to listen on; expected ADDRESS:PORT such as 127.0.0.1:8461");
  const std::string address = ListenAddress(listen);
  const std::string text = ListenPort(listen);
  const bool brackets = listen.starts_with('[');
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (listen.find(':') == std::string::npos || code != std::errc() || end != text.data() + text.size() ||
      !Parses(address) || brackets != (address.find(':') != std::string::npos)) {
    return wrong;
  }
  if (port != 0) return listen;
  const auto free = FreePort(address);
  if (!free) return Failed("no free port on " + address);
  return listen.substr(0, listen.rfind(':') + 1) + std::to_string(*free);
}

std::string DaemonConfig(const DeploymentPlan& plan) {
  const std::string pin = (plan.directory / "secrets" / "pin").string();
  const bool softhsm = plan.module.filename().string().find("softhsm") != std::string::npos;
  return "# A trial set-up of Hallmark, read by signerd. Relative paths are relative to this file.\n\n" +
         Listener("signing", plan.signing_listen, "relay-ca") + "\n" +
         Listener("admin", plan.admin_listen, "admin-ca") +
         "first_officers = [\"uri:hallmark:operator:admin\", \"uri:hallmark:operator:officer2\"]\n\n[state]\ndirectory "
         "= \"state\"\ninitial_policy = "
         "\"policy.toml\"  # for the first start; after that: dkimctl apply -f\n\n[log]\nlevel = "
         "\"info\"\n\n" +
         "[[token]]\nname = \"" + (softhsm ? "softhsm" : "token") + "\"\nmodule = " + Quote(plan.module.string()) +
         "\nuri = " +
         Quote("pkcs11:token=" + UriEncode(plan.token_label, ":[]@!$'()*+,=&") +
               "?pin-source=file:" + UriEncode(pin, "/:")) +
         "\nsessions = " + std::to_string(plan.sessions) + "\n" +
         (softhsm ? "environment = { SOFTHSM2_CONF = \"softhsm/softhsm2.conf\" }\n" : "");
}

std::string PolicyConfig() {
  return "# Who may sign what, for the first start. Later: dkimctl export > FILE, and dkimctl apply -f FILE.\n\n"
         "[[partner]]\nname = \"own\"  # the organisation itself\nauthor_domains = [\"*\"]\nsigning_domains = "
         "[\"*\"]\nalignment = \"relaxed\"\n\n"
         "[[relay]]\nname = \"relay1\"\nidentity = \"dns:relay1.localdomain\"  # of its certificate\npartners = "
         "[\"own\"]\n";
}

std::string ClientConfigText(const DeploymentPlan& plan) {
  return "# Where dkimctl finds signerd. Relative paths are relative to this file.\n\n" +
         Client("admin", plan.admin_listen, "operator") +
         "# Gives the second factor up for whoever can read that file: for a trial only.\ntotp_secret_file = "
         "\"secrets/operator.totp\"\n\n" +
         Client("signing", plan.signing_listen, "relay1");
}

std::string MilterConfig(const DeploymentPlan& plan) {
  return "# Read by dkim-milter, for Postfix and Sendmail. Relative paths are relative to this "
         "file.\n\n[milter]\nlisten = "
         "[\"inet:127.0.0.1:8891\"]  # the same string goes into main.cf: smtpd_milters and "
         "non_smtpd_milters\n\n[signerd]\nservers = [" +
         Quote(Reach(plan.signing_listen)) +
         "]\nserver_name = \"localhost\"  # what the servers' certificates must say\nca = "
         "\"tls/server-ca.pem\"\ncertificate "
         "= \"tls/relay1.pem\"\nprivate_key = \"tls/relay1.key\"\n\n[outbound]  # what is signed; all else is left "
         "alone\nauthenticated = true\nnetworks = [\"127.0.0.0/8\", \"::1/128\"]\n";
}

std::string SoftHsmConfig(const std::filesystem::path& root) {
  return "directories.tokendir = " + (root / "softhsm" / "tokens").string() +
         "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n";
}

}  // namespace hallmark::ctl
