#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "firmware/runtime/log.h"
#include "firmware/runtime/program.h"
#include "hsm/tokend/check_token.h"
#include "hsm/tokend/init_token.h"
#include "hsm/tokend/serve.h"

namespace hallmark::tokend {
namespace {

// This process holds a PIN: it leaves no core, and cannot be traced or gain privileges. It ends with signerd, but by
// the end of the link and not by a signal: one that is killed while it logs in may leave half a token (SoftHSM writes
// its token anew at each login).
Status Harden() {
  ::signal(SIGPIPE, SIG_IGN);
  const Status done = LeaveNoCore();
  return done ? GainNoPrivileges() : done;
}

enum ExitCode { kDone = 0, kFailed = 1, kUsage = 2, kPinRefused = 3 };

int Fail(const Error& error) {
  std::fprintf(stderr, "tokend: %s\n", error.message.c_str());
  return error.reason == Reason::kPinRejected ? kPinRefused : kFailed;
}

int Main(int argc, char** argv) {
  CLI::App app{"Holds the PIN of one PKCS#11 token and signs for signerd"};
  app.set_version_flag("--version", HALLMARK_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Example:\n"
      "  tokend init-token --module /usr/lib/softhsm/libsofthsm2.so --token-label hallmark \\\n"
      "    --pin-source pin --so-pin-source so-pin");

  Keeper::Config keeper;
  int fd = -1;
  CLI::App* serve = app.add_subcommand("serve", "Serve the link that signerd hands over (started by signerd)");
  serve->add_option("--fd", fd, "The link: a connected socket")->required();
  serve->add_option("--module", keeper.module, "The PKCS#11 library")->required();
  serve->add_option("--token-uri", keeper.uri, "The token and its PIN file (RFC 7512)")->required();
  serve->add_option("--sessions", keeper.sessions, "Signatures at once")->check(CLI::Range(1, 256))->required();
  unsigned between_restarts = 30;
  serve->add_option("--between-restarts", between_restarts,
                    "Seconds between initializations of a module in trouble, at least");
  unsigned longest_step = 30;
  serve->add_option("--longest-step", longest_step,
                    "Seconds after which a module that does not come back from a login, a look at the token or a key "
                    "that is found, imported or destroyed is given up with this process");

  InitTokenConfig init;
  CLI::App* init_token =
      app.add_subcommand("init-token", "Initialize the first empty token; prints its label and serial as JSON");
  init_token->add_option("--module", init.module, "The PKCS#11 library")->required();
  init_token->add_option("--token-label", init.label, "The label to give")->required();
  init_token->add_option("--pin-source", init.pin_file, "File with the user PIN")->required();
  init_token->add_option("--so-pin-source", init.so_pin_file, "File with the security officer's PIN")->required();
  CLI::App* check_token = app.add_subcommand("check-token", "Log in to a token, once; prints whether that went well");
  check_token->add_option("--module", keeper.module, "The PKCS#11 library")->required();
  check_token->add_option("--token-uri", keeper.uri, "The token and its PIN file (RFC 7512)")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }

  if (const Status done = Harden(); !done) return Fail(done.error());
  log::Init("tokend", "info");
  if (serve->parsed()) {
    keeper.between_restarts = std::chrono::seconds(between_restarts);
    keeper.longest_step = std::chrono::seconds(longest_step);
    const Status done = Serve(keeper, FileDescriptor(fd));
    if (!done) return Fail(done.error());
    ::_exit(0);  // without the destructors of the vendor's library, which may hang or crash
  }
  if (check_token->parsed()) {
    const auto token = CheckToken(keeper.module, keeper.uri);
    if (!token) return Fail(token.error());
    std::printf("the PIN is right\n");
    return kDone;
  }
  const auto serial = InitToken(init);
  if (!serial) return Fail(serial.error());
  std::printf("{\"label\":\"%s\",\"serial\":\"%s\"}\n", init.label.c_str(), serial->c_str());
  return kDone;
}

}  // namespace
}  // namespace hallmark::tokend

int main(int argc, char** argv) { return hallmark::tokend::Main(argc, argv); }
