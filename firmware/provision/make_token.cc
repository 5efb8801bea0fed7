#include "firmware/provision/make_token.h"

#include <grp.h>
#include <openssl/rand.h>
#include <string.h>

#include <algorithm>

#include "firmware/provision/box.h"
#include "firmware/provision/files.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/subprocess.h"

namespace hallmark::provision {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kSecret = 0600;
constexpr int kPinRefused = 3;              // tokend's exit code
constexpr std::chrono::minutes kLimit{10};  // of a program that is asked; a TPM takes its time

// The folder of the PINs, in memory; gone at the end.
class Secrets {
 public:
  explicit Secrets(const Places& places) : path_(places.run / "secrets") {}
  Secrets(const Secrets&) = delete;
  Secrets& operator=(const Secrets&) = delete;
  ~Secrets() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Status Make() const { return MakeFolder(path_, 0700); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// The last line of what a program said that failed.
std::string LastWord(const fs::path& program, const ProgramResult& ran) {
  std::string why = ran.err.empty() ? ran.out : ran.err;
  while (why.ends_with('\n')) why.pop_back();
  why = why.substr(why.rfind('\n') + 1);
  return why.empty() ? program.string() + " failed without a word" : why;
}

Status RunOrSayWhy(const fs::path& program, const std::vector<std::string>& arguments,
                   const std::map<std::string, std::string>& environment, const std::string& what) {
  const auto ran = RunProgram(program, arguments, environment, kLimit);
  if (!ran) return ran.error();
  return ran->exit_code == 0 ? Ok() : Status(MakeError(Reason::kIoFailed, what + ": " + LastWord(program, *ran)));
}

// 24 of 32 letters and digits: 120 bits.
Status MakePin(const fs::path& path) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  unsigned char octets[24];
  if (RAND_bytes(octets, sizeof octets) != 1) return MakeError(Reason::kInternal, "no random octets for a PIN");
  char pin[sizeof octets];
  for (std::size_t i = 0; i < sizeof octets; ++i) pin[i] = kAlphabet[octets[i] % kAlphabet.size()];
  const Status written = WriteFileAtomically(path, {pin, sizeof pin}, kSecret);
  ::explicit_bzero(octets, sizeof octets);
  ::explicit_bzero(pin, sizeof pin);
  return written;
}

// With blanks between them, which none of them has: ReadToken sees to that.
std::string Words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string NamesOf(const std::map<std::string, std::string>& environment) {
  std::vector<std::string> names;
  for (const auto& [name, value] : environment) names.push_back(name);
  return Words(names);
}

std::string SoftHsmConfig(const fs::path& tokens) {
  return "directories.tokendir = " + tokens.string() +
         "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n";
}

// Of a class of character devices, as in /proc/devices: "189 usb_device".
bool IsDeviceClass(std::string_view name) {
  const auto list = ReadFile("/proc/devices", 1u << 20);
  if (!list) return false;
  const std::string_view characters = std::string_view(*list).substr(0, list->find("\nBlock devices:"));
  const std::string line = " " + std::string(name) + "\n";
  return (std::string(characters) + "\n").find(line) != std::string::npos;
}

bool IsDeviceThere(const std::string& device) {
  constexpr std::string_view kClass = "char-";
  std::error_code ignored;
  return device.starts_with(kClass) ? IsDeviceClass(device.substr(kClass.size())) : fs::exists(device, ignored);
}

// One with random PINs, in the files `prefix`pin and `prefix`so-pin. Neither SoftHSM nor tpm2-pkcs11 keeps a path in
// its state, so that it can be moved.
Status MakeWithRandomPins(const Token& token, const std::string& prefix, const fs::path& state, const fs::path& secrets,
                          const Places& places) {
  TokenPlaces here = places.tokens;
  here.softhsm_config = secrets / "softhsm2.conf";
  here.tpm_store = state / "tpm2";
  const fs::path folder = token.kind == TokenKind::kTpm ? fs::path(here.tpm_store) : state / "softhsm";
  Status done = MakeFolder(folder, 0700);
  if (done) done = Put(here.softhsm_config, SoftHsmConfig(state / "softhsm"), kSecret);
  for (const char* pin : {"pin", "so-pin"}) {
    if (done) done = MakePin(secrets / (prefix + pin));
  }
  if (!done) return done;
  return RunOrSayWhy(
      CompanionProgram("tokend"),
      {"init-token", "--module", ModuleOf(token, here), "--token-label", token.label, "--pin-source",
       (secrets / (prefix + "pin")).string(), "--so-pin-source", (secrets / (prefix + "so-pin")).string()},
      EnvironmentOf(token, here), "no token was made");
}

}  // namespace

Status MakeToken(const Configuration& configuration, const fs::path& state, const fs::path& config,
                 const Places& places, const SecretString* pin) {
  const Token& token = configuration.token;
  if (PinIsTyped(token.kind) && pin == nullptr) {
    return MakeError(Reason::kInternal, "nobody typed the PIN of the token");
  }
  const Secrets secrets(places);
  Status done = secrets.Make();
  if (done) {
    done = PinIsTyped(token.kind) ? WriteFileAtomically(secrets.path() / "pin", pin->view(), kSecret)
                                  : MakeWithRandomPins(token, "", state, secrets.path(), places);
  }
  if (done && HasLedgerToken(token)) {
    done = MakeWithRandomPins(LedgerToken(), "ledger-", state, secrets.path(), places);
  }
  if (!done) return done;
  const std::string from = secrets.path().string();
  done = RunOrSayWhy(places.libexec / "seal-pins", {from, config.string()}, {}, "the TPM does not seal the PINs");
  const std::string recipients = config / "recipients.pem";
  std::error_code ignored;
  if (!done) return done;
  if (!fs::exists(recipients, ignored)) return ForgetRecovery(places);
  return RunOrSayWhy(places.libexec / "make-recovery", {from, (config / kRecovery).string(), recipients}, {},
                     "no recovery key was made");
}

Status ForgetRecovery(const Places& places) {
  std::error_code ignored;
  if (!fs::exists(places.recipients, ignored)) return Ok();
  return RunOrSayWhy(places.libexec / "forget-recovery", {}, {}, "the recovery key of an unfinished set-up stays");
}

Status CheckPin(const Configuration& configuration, const SecretString& pin, const Places& places) {
  const Token& token = configuration.token;
  const Secrets secrets(places);
  const fs::path file = secrets.path() / "pin";
  Status done = secrets.Make();
  if (done) done = WriteFileAtomically(file, pin.view(), kSecret);
  if (!done) return done;
  fs::path program = CompanionProgram("tokend");
  std::vector<std::string> arguments = {"check-token", "--module", ModuleOf(token, places.tokens), "--token-uri",
                                        UriOf(token, file)};
  const auto environment = EnvironmentOf(token, places.tokens);
  if (token.kind == TokenKind::kModule) {
    // A vendor's code: it reads its part of the configuration, which is not in place yet, and may go over the network.
    const fs::path files = secrets.path() / "configuration";
    for (const auto& [name, content] : configuration.files) {
      if (done) done = Put(files / name, content, kSecret);
    }
    if (!done) return done;
    arguments.insert(arguments.begin(),
                     {files, NamesOf(environment), Words(token.devices), Words(token.groups), program});
    program = places.libexec / "try-token";
  }
  const auto ran = RunProgram(program, arguments, environment, kLimit);
  if (!ran) return MakeError(Reason::kTokenDown, ran.error().message);  // it hangs, say: not the box's own trouble
  if (ran->exit_code == 0) return Ok();
  return MakeError(ran->exit_code == kPinRefused ? Reason::kPinRejected : Reason::kTokenDown, LastWord(program, *ran));
}

Status CheckModuleIsThere(const Token& token, const Token& before) {
  const auto is_new = [](const std::string& name, const std::vector<std::string>& known) {
    return std::find(known.begin(), known.end(), name) == known.end();
  };
  std::error_code ignored;
  if (token.module != before.module && !fs::exists(token.module, ignored)) {
    return MakeError(Reason::kNotFound, "token.module: there is no " + token.module + " on this image");
  }
  for (const std::string& device : token.devices) {
    if (!is_new(device, before.devices) || IsDeviceThere(device)) continue;
    return MakeError(Reason::kNotFound, "token.devices: there is no device " + device + " on this box now");
  }
  for (const std::string& group : token.groups) {
    if (!is_new(group, before.groups) || ::getgrnam(group.c_str()) != nullptr) continue;
    return MakeError(Reason::kNotFound, "token.groups: there is no group " + group +
                                            " on this image; name one that the vendor's packages make");
  }
  return Ok();
}

}  // namespace hallmark::provision
