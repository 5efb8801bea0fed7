#include <grpc/support/log.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "firmware/runtime/printable.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/tls13.h"
#include "tools/relay-client/relay_client.h"
#include "tools/relay-client/settings_file.h"
#include "tools/relay-client/spool.h"
#include "tools/relay-client/wire_form.h"

// dkim-sign: a message on standard input, the signed message on standard output.
namespace hallmark::relay {
namespace {

constexpr char kDescription[] =
    "Signs a message at Hallmark: reads it from standard input and writes it to\n"
    "standard output, with its DKIM-Signature fields on top and otherwise as it came,\n"
    "but that every line ends, and as the header's first one does. What could not be\n"
    "signed is not written at all. Warnings go to standard error; to syslog where\n"
    "that is the standard output, as under Exim.";
constexpr char kFooter[] =
    "Examples:\n"
    "  dkim-sign < message.eml > signed.eml\n"
    "  dkim-sign --config relay.toml --partner acme < message.eml > signed.eml\n"
    "  dkim-sign --sender=alice@example.com -- bob@example.org < message.eml\n"
    "  dkim-sign --on-failure pass --pass-unconfigured < message.eml\n"
    "\n"
    "Exit codes (sysexits.h): 0 written, 64 wrong usage, 65 the message is malformed,\n"
    "70 the system does not let it rule out cores, tracing and old TLS, 74 it cannot\n"
    "be read, kept or written, 75 it cannot be signed now: try again, 77 it is\n"
    "refused, 78 the configuration or a file that it names is wrong.\n";

// The warning of lines that end in LF: so does all that Exim hands over, and here it does no harm.
constexpr char kEndsInLf[] = "BARE_LF";

struct Options {
  std::string config = "/etc/hallmark/dkim-sign.toml";
  MessageOptions message;
  std::string on_failure = "fail";
  bool pass_unconfigured = false;
};

int Complain(int code, const std::string& message) {
  std::fprintf(stderr, "dkim-sign: %s\n", message.c_str());
  return code;
}

// Exim gives a filter one pipe for both.
bool ErrorsGoIntoTheMessage() {
  struct stat output {};
  struct stat errors {};
  return ::fstat(STDOUT_FILENO, &output) == 0 && ::fstat(STDERR_FILENO, &errors) == 0 &&
         output.st_dev == errors.st_dev && output.st_ino == errors.st_ino && ::isatty(STDOUT_FILENO) == 0;
}

// Says something beside a message that is written. What a server says ends in no second line and no terminal's hands.
void Note(const std::string& what) {
  constexpr std::size_t kMost = 500;
  const std::string line = Printable(what, kMost);
  if (ErrorsGoIntoTheMessage()) {
    ::openlog("dkim-sign", LOG_PID, LOG_MAIL);
    ::syslog(LOG_WARNING, "%s", line.c_str());
  } else {
    std::fprintf(stderr, "dkim-sign: %s\n", line.c_str());
  }
}

int ExitCode(const Failure& failure) {
  constexpr std::array<std::string_view, 7> kMalformed = {
      "FROM_MISSING",     "FROM_REPEATED",     "FROM_UNUSABLE",    "HEADER_MALFORMED",
      "HEADER_TOO_LARGE", "MESSAGE_TOO_LARGE", "BARE_LINE_ENDING",
  };
  if (failure.kind != FailureKind::kRefused) return EX_TEMPFAIL;
  const bool malformed = std::find(kMalformed.begin(), kMalformed.end(), failure.reason) != kMalformed.end();
  return malformed ? EX_DATAERR : EX_NOPERM;
}

Result<Settings> LoadSettings(const std::string& path) {
  auto file = ConfigFile::Load(path);
  if (!file) return file.error();
  ConfigTable root = (*file)->root();
  ConfigTable signerd = root.Table("signerd");
  Settings settings = ReadSettings(signerd);
  if (const Status status = (*file)->Finish(); !status) return status.error();
  return settings;
}

// Standard input to its end, to both.
Status Read(Message& message, Spool& spool) {
  std::string buffer(256u << 10, '\0');
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return MakeError(Reason::kIoFailed, std::string("cannot read standard input: ") + std::strerror(errno));
    }
    if (count == 0) return Ok();
    const auto piece = std::string_view(buffer).substr(0, static_cast<std::size_t>(count));
    message.Feed(piece);
    if (const Status kept = spool.Append(piece); !kept) return kept;
  }
}

int Written(const Status& status) {
  return status ? EX_OK : Complain(EX_IOERR, "standard output: " + status.error().message);
}

int WriteUnsigned(const Spool& spool) {
  return Written(spool.ForEach([](std::string_view piece) { return WriteAll(STDOUT_FILENO, piece); }));
}

// What was signed: a bare CR, which no MTA makes a line end, or a last line that has none would break the signature.
// The fields have the line ends of the header.
int WriteSigned(const Outcome& outcome, const Spool& spool) {
  std::string text;
  for (const Signature& signature : outcome.signatures) text += signature.header_field;
  WireForm form(text.ends_with("\r\n") ? "\r\n" : "\n");
  Status written = WriteAll(STDOUT_FILENO, text);
  if (written) {
    written = spool.ForEach([&](std::string_view piece) {
      text.clear();
      form.Push(piece, text);
      return WriteAll(STDOUT_FILENO, text);
    });
  }
  text.clear();
  form.Finish(text);
  if (written) written = WriteAll(STDOUT_FILENO, text);
  return Written(written);
}

int Sign(Options options) {
  const auto settings = LoadSettings(options.config);
  if (!settings) return Complain(EX_CONFIG, settings.error().message);
  const auto connection = Client::Connect(*settings);
  if (connection.failure) {
    const bool wrong = connection.failure->reason == "INVALID_SETTINGS";
    return Complain(wrong ? EX_CONFIG : EX_TEMPFAIL, options.config + ": " + connection.failure->message);
  }
  connection.client->Health();  // connects while the message is read
  Message message = connection.client->Open(std::move(options.message));
  Spool spool;
  if (const Status read = Read(message, spool); !read) return Complain(EX_IOERR, read.error().message);

  const Outcome outcome = connection.client->Finish(std::move(message));
  if (!outcome) {
    const bool unconfigured = outcome.failure->reason == "DOMAIN_NOT_CONFIGURED" && options.pass_unconfigured;
    const bool pass = unconfigured || options.on_failure == "pass";
    const std::string what = outcome.failure->reason + ": " + outcome.failure->message;
    if (!pass) return Complain(ExitCode(*outcome.failure), what);
    if (!unconfigured) Note(what + "; passed on unsigned");
    return WriteUnsigned(spool);
  }
  for (const Warning& warning : outcome.warnings) {
    if (warning.code == kEndsInLf) continue;
    Note("warning: " + warning.code + ": " + warning.message);
  }
  return WriteSigned(outcome, spool);
}

int Run(int argc, char** argv) {
  Status status = LeaveNoCore();
  if (status) status = RequireTls13();
  if (!status) return Complain(EX_SOFTWARE, status.error().message);
  Options options;
  CLI::App app(kDescription, "dkim-sign");
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  app.set_version_flag("--version", "dkim-sign " HALLMARK_VERSION, "Print the version and exit");
  app.add_option("--config", options.config, "TOML with a table [signerd]\n[" + options.config + "]")
      ->type_name("FILE");
  app.add_option("--partner", options.message.partner, "For whom; else as signerd's policy says")->type_name("NAME");
  app.add_option("--domain", options.message.signing_domain, "d=; else from the author domain")->type_name("DOMAIN");
  app.add_option("--sender", options.message.envelope_sender, "MAIL FROM; empty for a bounce")->type_name("ADDRESS");
  app.add_option("--recipient,recipients", options.message.envelope_recipients, "RCPT TO, each")->type_name("ADDRESS");
  app.add_option("--on-failure", options.on_failure, "fail, or pass: write it unsigned [fail]")
      ->type_name("WHAT")
      ->check(CLI::IsMember({"fail", "pass"}));
  app.add_flag("--pass-unconfigured", options.pass_unconfigured,
               "Write it unsigned where nobody here\nsigns for its author domain");
  try {  // CLI11 speaks in exceptions; they end here.
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    return Complain(EX_USAGE, std::string(error.what()) + "; see dkim-sign --help");
  }
  return Sign(std::move(options));
}

}  // namespace
}  // namespace hallmark::relay

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write, which is reported
  // gRPC's own log would add lines of its own to standard error; what went wrong is in the failure.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  try {
    return hallmark::relay::Run(argc, argv);
  } catch (const std::exception& error) {  // what the standard library throws: no memory, above all
    return hallmark::relay::Complain(EX_TEMPFAIL, error.what());
  }
}
