#include "firmware/provision/wizard.h"

#include <algorithm>
#include <set>

#include "firmware/provision/names.h"
#include "firmware/provision/starter.h"
#include "firmware/runtime/identity.h"

namespace hallmark::provision {
namespace {

constexpr std::chrono::milliseconds kLook{500};

std::string Trimmed(std::string text) {
  constexpr const char* kBlank = " \t";
  text.erase(0, text.find_first_not_of(kBlank));
  text.erase(text.find_last_not_of(kBlank) + 1);
  return text;
}

// Waits as long as it takes, or the terminal is there.
Result<std::string> Line(Console& console) {
  while (true) {
    auto line = console.ReadLine(kLook);
    if (!line && !console.IsOpen()) return MakeError(Reason::kCancelled, "the console was closed; nothing was set up");
    if (!line) continue;
    std::string text = Trimmed(std::move(*line));
    if (text == "cancel") return MakeError(Reason::kCancelled, "nothing was set up");
    return text;
  }
}

// Asks again until it is right.
template <class Accept>
Result<std::string> Ask(Console& console, const std::string& question, const Accept& accept) {
  while (true) {
    console.Say(question);
    auto answer = Line(console);
    if (!answer || accept(*answer)) return answer;
    console.Say("\"" + *answer + "\" will not do");
  }
}

// Several, with blanks between them.
template <class Accept>
Result<std::vector<std::string>> AskList(Console& console, const std::string& question, const Accept& accept) {
  const auto split = [](const std::string& text) {
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string::npos;) {
      const std::size_t end = std::min(text.find(' ', at), text.size());
      words.push_back(text.substr(at, end - at));
      at = end;
    }
    return words;
  };
  const auto answer = Ask(console, question, [&](const std::string& text) {
    for (const std::string& word : split(text)) {
      if (!accept(word)) return false;
    }
    return true;
  });
  if (!answer) return answer.error();
  return split(*answer);
}

// Certificates as they are pasted, up to an empty line.
Result<std::string> AskCertificate(Console& console, const std::string& whose) {
  while (true) {
    console.Say("paste the CA certificate of " + whose + " (PEM); end with an empty line");
    std::string pem;
    while (true) {
      auto line = Line(console);
      if (!line) return line;
      if (line->empty()) break;
      if (pem.size() < kMostOctets) pem += *line + "\n";
    }
    if (pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("-----END CERTIFICATE-----\n")) return pem;
    console.Say("that was no PEM certificate");
  }
}

// As signerd takes it, and as it can stand in a file between quotes.
bool IsIdentity(const std::string& text) {
  return (text.starts_with("dns:") || text.starts_with("uri:")) && text.size() > 4 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

// The same one twice is one: so signerd compares them.
std::size_t CountDifferent(const std::vector<std::string>& identities) {
  std::set<std::string> different;
  for (const std::string& identity : identities) different.insert(NormalIdentity(identity));
  return different.size();
}

Status AskNetwork(Console& console, Network& network) {
  auto addresses = AskList(console, "its address, as 192.0.2.10/24; empty: by DHCP", IsIpPrefix);
  if (!addresses) return addresses.error();
  network.addresses = std::move(*addresses);
  if (network.addresses.empty()) return Ok();
  auto gateways = AskList(console, "its gateway, as 192.0.2.1", IsIpAddress);
  if (!gateways) return gateways.error();
  network.gateways = std::move(*gateways);
  auto dns = AskList(console, "its name servers, with blanks between them", IsIpAddress);
  if (!dns) return dns.error();
  network.dns = std::move(*dns);
  return Ok();
}

Status AskPeople(Console& console, Answers& answers) {
  auto domains =
      AskList(console, "the domains that are to sign from now on, with blanks between them; may be empty", IsHostName);
  if (!domains) return domains.error();
  answers.domains.clear();
  for (std::string& domain : *domains) {  // each once, as a configuration has them
    const auto end = answers.domains.end();
    if (std::find(answers.domains.begin(), end, domain) == end) answers.domains.push_back(std::move(domain));
  }
  while (true) {
    auto officers =
        AskList(console, "the first two security officers, as in their certificates: uri:example:operator:alice ...",
                IsIdentity);
    if (!officers) return officers.error();
    answers.officers = std::move(*officers);
    if (CountDifferent(answers.officers) >= 2) break;
    console.Say(
        "it takes two different ones: what is dangerous waits for a second officer, and this box takes no later "
        "configuration that could name one");
  }
  auto relay = Ask(console, "the first relay, as in its certificate: dns:relay1.example.com", IsIdentity);
  if (!relay) return relay.error();
  answers.relay = std::move(*relay);
  return Ok();
}

}  // namespace

Result<std::string> AskAtConsole(Console& console) {
  console.Say(
      "set-up at the console; type cancel to give up. What it will lack: nobody's signature, so that only this");
  console.Say("console says where it came from, and it takes no later configuration; and a recovery key");
  Answers answers;
  auto host = Ask(console, "the box's name, as signer1.example.com", IsBoxName);
  if (!host) return host;
  answers.host_name = *host;
  answers.certificate_names = {"DNS:" + *host};
  if (const Status asked = AskNetwork(console, answers.network); !asked) return asked.error();
  for (const std::string& prefix : answers.network.addresses) {
    answers.certificate_names.push_back("IP:" + prefix.substr(0, prefix.find('/')));
  }
  if (const Status asked = AskPeople(console, answers); !asked) return asked.error();
  std::map<std::string, std::string> files = StarterFiles(answers);
  const std::string box = files.extract("box.toml").mapped();
  for (const auto& [name, whose] :
       {std::pair("tls/relay-ca.pem", "the relays"), std::pair("tls/admin-ca.pem", "the operators")}) {
    auto pem = AskCertificate(console, whose);
    if (!pem) return pem;
    files[name] = std::move(*pem);
  }
  const auto sure = Ask(console, "set up " + *host + " like this? yes or cancel",
                        [](const std::string& text) { return text == "yes"; });
  if (!sure) return sure;
  return Pack(box, files);
}

}  // namespace hallmark::provision
