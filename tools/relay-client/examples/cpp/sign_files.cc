// Signs files at Hallmark: each FILE is read once and written, signed, to FILE.signed.
//
//   sign_files 127.0.0.1:8461[,HOST:PORT...] server-ca.pem relay.pem relay.key FILE...
//
// This is what a relay does with each message that passes through it; only reading and writing files is the example's
// own.

#include <hallmark/relay_client.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

namespace relay = hallmark::relay;

namespace {

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

// What a relay would answer its own client over SMTP.
const char* SmtpReply(const relay::Failure& failure) {
  switch (failure.kind) {
    case relay::FailureKind::kUnavailable: return "451 4.7.1 cannot be signed now";
    case relay::FailureKind::kLimited: return "451 4.7.1 too much mail for now";
    case relay::FailureKind::kRefused: return "550 5.7.1 is not signed here";
  }
  return "451 4.3.0 unknown";
}

bool SignFile(relay::Client& client, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::cerr << path << ": cannot be read\n";
    return false;
  }

  // 1. Open. What the relay knows of the message beside its text; all of it is optional.
  relay::MessageOptions options;
  options.envelope_sender = "alice@example.com";             // MAIL FROM
  options.envelope_recipients.push_back("bob@example.org");  // RCPT TO, each
  relay::Message message = client.Open(options);

  // 2. Feed it, in pieces as they arrive. The header is kept, the body only hashed. A relay hands the pieces on to its
  // queue meanwhile; here the file stays where it is.
  char buffer[65536];
  while (in.read(buffer, sizeof buffer) || in.gcount() > 0) {
    message.Feed(std::string_view(buffer, static_cast<std::size_t>(in.gcount())));
  }

  // 3. Finish. This asks a server and waits; with a second argument, a function, it does not wait.
  const relay::Outcome outcome = client.Finish(std::move(message));
  if (!outcome) {
    std::cerr << path << ": " << SmtpReply(*outcome.failure) << " (" << outcome.failure->reason << ": "
              << outcome.failure->message << ")\n";
    return false;
  }
  for (const relay::Warning& warning : outcome.warnings) {
    std::cerr << path << ": " << warning.code << ": " << warning.message << "\n";
  }

  // 4. The fields go before the first one, in this order and unchanged; then the message as it was.
  std::ofstream out(path + ".signed", std::ios::binary);
  for (const relay::Signature& signature : outcome.signatures) out << signature.header_field;
  in.clear();
  in.seekg(0);
  out << in.rdbuf();
  out.flush();
  std::cout << path << ": signed as " << outcome.signing_domain << " by";
  for (const relay::Signature& signature : outcome.signatures) std::cout << " " << signature.selector;
  std::cout << "\n";
  return static_cast<bool>(out);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::cerr << "usage: sign_files SERVER[,SERVER...] CA CERTIFICATE PRIVATE-KEY FILE...\n";
    return 64;
  }
  relay::Settings settings;
  settings.servers = Split(argv[1]);
  // And settings.server_name, where the servers' certificates say something else than their hosts.
  settings.ca = argv[2];
  settings.certificate = argv[3];
  settings.private_key = argv[4];

  // One client for the whole program: it keeps its connections, and any thread may use it.
  const relay::Client::Connection connection = relay::Client::Connect(settings);
  if (!connection.client) {
    std::cerr << connection.failure->message << "\n";
    return 78;
  }
  bool all = true;
  for (int i = 5; i < argc; ++i) all = SignFile(*connection.client, argv[i]) && all;
  return all ? 0 : 1;
}
