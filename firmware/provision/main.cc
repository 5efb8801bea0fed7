#include <signal.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <iostream>

#include <toml++/toml.h>

#include "firmware/provision/first_boot.h"
#include "firmware/provision/operator_side.h"
#include "firmware/provision/push_server.h"
#include "firmware/provision/records.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/secret.h"
#include "firmware/runtime/subprocess.h"
#include "firmware/runtime/tls13.h"

namespace hallmark::provision {
namespace {

namespace fs = std::filesystem;

enum ExitCode { kDone = 0, kFailed = 1, kUsage = 2 };

struct Options {
  // Of an operator.
  fs::path box = "box.toml", key, certificate, out = kFileName, file, owner_ca, folder = ".";
  std::string host_name = "signer1.example.com", address, fingerprint, output = "table";
  bool dry_run = false;
  // Of the box.
  fs::path root = "/", stick, console = "/dev/console";
  std::string push_listen = "[::]:8463", user = "hallmark", tcti = TokenPlaces().tcti;
};

int Fail(const Error& error) {
  std::fprintf(stderr, "hallmark-provision: %s\n", error.message.c_str());
  return kFailed;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text.empty() ? "-" : text;
}

toml::array List(const std::vector<std::string>& words) {
  toml::array list;
  for (const std::string& word : words) list.push_back(word);
  return list;
}

// What a configuration says, for a person or a program.
void Print(const Options& options, const Configuration& configuration, const Signer& signer,
           const std::string& outcome) {
  std::vector<std::string> domains, files;
  for (const Domain& domain : configuration.domains) domains.push_back(domain.name);
  for (const auto& [name, content] : configuration.files) files.push_back(name);
  if (options.output == "json") {
    const toml::table table{{"host_name", configuration.host_name},
                            {"replaces", configuration.replaces},
                            {"revision", configuration.revision},
                            {"token", NameOf(configuration.token.kind)},
                            {"domains", List(domains)},
                            {"files", List(files)},
                            {"signer", toml::table{{"subject", signer.subject}, {"fingerprint", signer.fingerprint}}},
                            {"outcome", outcome}};
    std::cout << toml::json_formatter(table) << '\n';
    return;
  }
  std::printf("box:       %s, revision %lld\n", configuration.host_name.c_str(),
              static_cast<long long>(configuration.revision));
  if (!configuration.replaces.empty()) std::printf("replaces:  %s\n", configuration.replaces.c_str());
  std::printf("network:   %s\n",
              configuration.network.addresses.empty() ? "DHCP" : Joined(configuration.network.addresses).c_str());
  std::printf("token:     %s\n", std::string(NameOf(configuration.token.kind)).c_str());
  std::printf("domains:   %s\nfiles:     %s\n", Joined(domains).c_str(), Joined(files).c_str());
  if (!signer.fingerprint.empty()) {
    std::printf("signed by: %s\nSHA-256:   %s\n", signer.subject.c_str(), signer.fingerprint.c_str());
  }
  std::printf("%s\n", outcome.c_str());
}

int New(const Options& options) {
  const auto made = MakeStarter(options.folder, options.host_name);
  if (!made) return Fail(made.error());
  for (const std::string& file : *made) std::printf("%s\n", file.c_str());
  std::printf("Edit them, put the CAs of relays and operators into %s, and pack them.\n",
              (options.folder / "tls").c_str());
  return kDone;
}

int DoPack(const Options& options) {
  const auto source = ReadSource(options.box);
  if (!source) return Fail(source.error());
  const auto der = Sign(source->text, options.key, options.certificate);
  if (!der) return Fail(der.error());
  const auto opened = Open(*der, options.out, "");
  if (!opened) return Fail(opened.error());
  if (!options.dry_run) {
    if (const Status written = WriteFileAtomically(options.out, *der); !written) return Fail(written.error());
  }
  Print(options, source->configuration, opened->signer,
        options.dry_run ? "would be written: " + options.out.string() : "written: " + options.out.string());
  return kDone;
}

int Show(const Options& options) {
  const auto der = ReadFile(options.file, 2 * kMostOctets);
  if (!der) return Fail(der.error());
  const auto opened = Open(*der, options.file, options.owner_ca);
  if (!opened) return Fail(opened.error());
  const auto configuration = ParsePacked(opened->content, options.file);
  if (!configuration) return Fail(configuration.error());
  Print(options, *configuration, opened->signer,
        opened->by_owner ? "the signature is good, and the owner's" : "the signature is good");
  return kDone;
}

// A line of the terminal, without an echo; of standard input where that is none.
std::string AskCode() {
  std::fprintf(stderr, "one-time code on the box's console: ");
  termios before{};
  const bool terminal = ::tcgetattr(STDIN_FILENO, &before) == 0;
  if (terminal) {
    termios quiet = before;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
  }
  std::string code;
  std::getline(std::cin, code);
  if (terminal) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  std::fprintf(stderr, "\n");
  return code;
}

// Nobody else gets the box's recovery key: found out before the box is set up.
Status CanBeWritten(const fs::path& out) {
  std::error_code ignored;
  if (fs::is_directory(out, ignored)) return MakeError(Reason::kInvalidArgument, out.string() + ": is a folder");
  const fs::path trial = out.string() + ".trial";
  const Status written = WriteFileAtomically(trial, "");
  fs::remove(trial, ignored);
  return written;
}

int DoPush(const Options& options) {
  const auto der = ReadFile(options.file, 2 * kMostOctets);
  if (!der) return Fail(der.error());
  // Not the box's to find out.
  if (const auto opened = Open(*der, options.file, ""); !opened) return Fail(opened.error());
  if (const Status can = CanBeWritten(options.out); !can) return Fail(can.error());
  const auto keep = [&](const std::string& answer) -> Status {
    const Status written = WriteFileAtomically(options.out, answer);
    if (written) return written;
    return MakeError(written.error().reason, "the box is set up, but " + written.error().message +
                                                 "; start it with the stick HALLMARK in: it puts the same on that");
  };
  const Status pushed = Push(options.address, options.fingerprint, AskCode(), *der, keep);
  if (!pushed) return Fail(pushed.error());
  std::printf("The box is set up. Its certificate, and its recovery key where it has one, are in %s.\n",
              options.out.c_str());
  return kDone;
}

Places PlacesOf(const Options& options) {
  ::umask(022);  // what is secret gets its mode where it is made
  Places places(options.root);
  places.user = options.user;
  places.tokens.tcti = options.tcti;
  return places;
}

// Networkd is up already at a first boot.
void ReloadNetwork(const Options& options) {
  if (options.root != "/") return;
  // Not networkctl: it wants to be where the network is, which first-boot is not.
  const auto ran = RunProgram(
      "/usr/bin/busctl",
      {"call", "org.freedesktop.network1", "/org/freedesktop/network1", "org.freedesktop.network1.Manager", "Reload"},
      {});
  if (!ran || ran->exit_code != 0) std::printf("hallmark: the network follows at the next start\n");
}

Status SetHostName(const Options& options, const std::string& name) {
  if (options.root != "/" || ::sethostname(name.data(), name.size()) == 0) return Ok();
  return MakeError(Reason::kIoFailed, std::string("the host name cannot be set: ") + std::strerror(errno));
}

Status ReloadUnits(const Options& options) {
  if (options.root != "/") return Ok();
  const auto ran = RunProgram("/usr/bin/systemctl", {"daemon-reload"}, {});
  if (!ran) return ran.error();
  return ran->exit_code == 0 ? Ok() : Status(MakeError(Reason::kIoFailed, "systemctl daemon-reload: " + ran->err));
}

int DoSettle(const Options& options) {
  const Places places = PlacesOf(options);
  const Status settled = Settle(
      places, [&](const std::string& name) { return SetHostName(options, name); },
      [&] { return ReloadUnits(options); });
  return settled ? kDone : Fail(settled.error());
}

// systemd holds the socket too, and a connection would wait there for ever. Not for the end of it: that may wait for
// this start.
void ClosePush(const Options& options) {
  if (options.push_listen != kFromSystemd || options.root != "/") return;
  const auto ran = RunProgram("/usr/bin/systemctl", {"stop", "--no-block", "hallmark-push.socket"}, {});
  if (!ran || ran->exit_code != 0) std::printf("hallmark: the port for a push stays open until the next start\n");
}

int DoFirstBoot(const Options& options) {
  const Places places = PlacesOf(options);
  Console console(options.console);
  const Stick stick(options.stick, places.run / "stick");
  FirstBoot first(places, console, stick, options.push_listen == "none" ? "" : options.push_listen,
                  [&] { ReloadNetwork(options); });
  if (IsSetUp(places)) {
    first.TakeLater();
  } else {
    const Status done = first.Run();
    ClosePush(options);
    if (!done) {
      console.Say(done.error().message);
      console.Say("the set-up has ended: mend that, and start the box again");
      return kFailed;
    }
  }
  const int settled = DoSettle(options);
  ReloadNetwork(options);
  return settled;
}

int DoRecords(const Options& options) {
  const Places places = PlacesOf(options);
  const Stick stick(options.stick, places.run / "stick");
  const Status shown = ShowRecords(places, Console(""), stick, std::chrono::minutes(10));
  return shown ? kDone : Fail(shown.error());
}

CLI::App* AddCommand(CLI::App& app, const char* name, const char* what, const char* examples) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer(std::string("Examples:\n") + examples);
  return command;
}

void AddOperatorCommands(CLI::App& app, Options& options) {
  CLI::App* begin = AddCommand(app, "new", "Make a configuration to begin with",
                               "  hallmark-provision new ./signer1 --host-name signer1.example.com");
  begin->add_option("folder", options.folder, "The folder to make it in")->required()->type_name("DIR");
  begin->add_option("--host-name", options.host_name, "The box's name")->type_name("NAME");

  CLI::App* pack = AddCommand(app, "pack", "Check a configuration, and sign it",
                              "  hallmark-provision pack --config signer1/box.toml --sign-key org.key \\\n"
                              "      --sign-certificate org.pem --out box.hallmark");
  pack->add_option("--config", options.box, "box.toml; the files that it names are beside it")
      ->type_name("FILE")
      ->required();
  pack->add_option("--sign-key", options.key, "Private key of the signer, PEM; RSA or ECDSA")
      ->type_name("FILE")
      ->required();
  pack->add_option("--sign-certificate", options.certificate, "The signer's certificate, PEM")
      ->type_name("FILE")
      ->required();
  pack->add_option("--out", options.out, "Where to [box.hallmark]")->type_name("FILE");
  pack->add_flag("--dry-run", options.dry_run, "Check and sign, and write nothing");

  CLI::App* show = AddCommand(app, "show", "Say what a signed configuration is, and who signed it",
                              "  hallmark-provision show box.hallmark --owner-ca org-ca.pem");
  show->add_option("file", options.file, "What pack made")->type_name("FILE")->required();
  show->add_option("--owner-ca", options.owner_ca, "Whose signature it has to be, PEM")->type_name("FILE");
  for (CLI::App* command : {pack, show}) {
    command->add_option("--output", options.output, "table or json [table]")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"table", "json"}).description(""));
  }

  CLI::App* push = AddCommand(app, "push", "Push a signed configuration to a box that is not set up",
                              "  hallmark-provision push box.hallmark --box 192.0.2.10:8463 \\\n"
                              "      --fingerprint 3F:A0:... --out signer1.pem");
  push->add_option("file", options.file, "What pack made")->type_name("FILE")->required();
  push->add_option("--box", options.address, "Where the box's console says it is")->type_name("ADDR:PORT")->required();
  push->add_option("--fingerprint", options.fingerprint, "As on the console; its first 16 octets do")
      ->type_name("HEX")
      ->required();
  push->add_option("--out", options.out, "Where the box's certificate goes")->type_name("FILE")->required();
}

void AddBoxCommands(CLI::App& app, Options& options) {
  CLI::App* first = AddCommand(app, "first-boot", "On the box: wait until it is set up, or take a later configuration",
                               "  hallmark-provision first-boot");
  first->add_option("--console", options.console, "Where a person types [/dev/console]")->type_name("FILE");
  first
      ->add_option("--push-listen", options.push_listen,
                   "For push [[::]:8463]; systemd: the socket that it passes; none: not at all")
      ->type_name("ADDR:PORT");
  first->add_option("--user", options.user, "Whom signerd runs as [hallmark]")->type_name("NAME");
  first->add_option("--tcti", options.tcti, "How the TPM is reached [tabrmd:]")->type_name("TCTI");
  CLI::App* settle = AddCommand(app, "settle", "On the box, each start: host name, network, time servers",
                                "  hallmark-provision settle");
  CLI::App* records = AddCommand(app, "records", "On the box: show the DNS records of its first keys, once",
                                 "  hallmark-provision records");
  for (CLI::App* command : {first, settle, records}) {
    command->add_option("--root", options.root, "Where the box's files are [/]")->type_name("DIR");
  }
  for (CLI::App* command : {first, records}) {
    command->add_option("--stick", options.stick, "A folder in place of the stick")->type_name("DIR");
  }
}

int Main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Sets up a Hallmark box: packs and signs its configuration, and takes it at the first boot"};
  app.set_version_flag("--version", HALLMARK_VERSION);
  app.require_subcommand(1);
  app.footer("Examples:\n  hallmark-provision new ./signer1\n  hallmark-provision pack --help");
  Options options;
  AddOperatorCommands(app, options);
  AddBoxCommands(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  if (const Status hidden = LeaveNoCore(); !hidden) return Fail(hidden.error());
  if (const Status tls = RequireTls13(); !tls) return Fail(tls.error());
  constexpr std::pair<const char*, int (*)(const Options&)> kCommands[] = {
      {"new", &New},          {"pack", &DoPack},     {"show", &Show},
      {"push", &DoPush},      {"settle", &DoSettle}, {"first-boot", &DoFirstBoot},
      {"records", &DoRecords}};
  for (const auto& [name, run] : kCommands) {
    if (app.got_subcommand(name)) return run(options);
  }
  return kUsage;
}

}  // namespace
}  // namespace hallmark::provision

int main(int argc, char** argv) { return hallmark::provision::Main(argc, argv); }
