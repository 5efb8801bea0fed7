#include "tools/dkimctl/deployment.h"

#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "firmware/runtime/file.h"
#include "firmware/runtime/issue_certificate.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/secret.h"
#include "firmware/runtime/subprocess.h"
#include "tools/dkimctl/deployment_config.h"
#include "tools/dkimctl/stop_signals.h"

namespace hallmark::ctl {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kSecretMode = 0600, kPublicMode = 0644;

// A folder that goes away with all it holds unless it is moved to its place.
class Staging {
 public:
  static Answer<Staging> Make(const fs::path& target) {
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    std::string pattern = target.string() + ".new.XXXXXX";
    if (error || ::mkdtemp(pattern.data()) == nullptr) {
      return Failed(target.string() + ": cannot make the folder: " + (error ? error.message() : std::strerror(errno)));
    }
    return Staging(pattern);
  }
  Staging(Staging&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Staging& operator=(Staging&&) = delete;
  ~Staging() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  const fs::path& path() const { return path_; }
  // rename(2) replaces an empty folder, and refuses one that is not.
  Answer<void> MoveTo(const fs::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) {
      return Failed(target.string() + ": cannot put the set-up in place: " + std::strerror(errno));
    }
    path_.clear();
    return {};
  }

 private:
  explicit Staging(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

Answer<void> WriteFile(const fs::path& path, std::string_view content, mode_t mode) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return Failed(path.parent_path().string() + ": cannot make the folder: " + error.message());
  if (const Status written = WriteFileAtomically(path, content, mode); !written) return FromError(written.error());
  return {};
}

// 24 letters and digits, 120 bits: short enough for every token.
Answer<void> WritePin(const fs::path& path) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  unsigned char octets[24];
  if (RAND_bytes(octets, sizeof octets) != 1) return Failed("no random octets for a PIN");
  char pin[sizeof octets];
  std::transform(std::begin(octets), std::end(octets), pin, [&](unsigned char octet) { return kAlphabet[octet % 32]; });
  auto written = WriteFile(path, {pin, sizeof pin}, kSecretMode);
  ::explicit_bzero(octets, sizeof octets);
  ::explicit_bzero(pin, sizeof pin);
  return written;
}

Answer<void> WriteAuthority(const fs::path& root, const std::string& name, const Identity& authority) {
  const auto certificate = CertificatePem(authority);
  const auto key = PrivateKeyPem(authority);
  if (!certificate) return FromError(certificate.error());
  if (!key) return FromError(key.error());
  if (auto written = WriteFile(root / "tls" / (name + ".pem"), *certificate, kPublicMode); !written) return written;
  return WriteFile(root / "secrets" / (name + ".key"), *key, kSecretMode);
}

Answer<void> WriteIdentity(const fs::path& root, const Identity& authority, const std::string& name,
                           const Subject& subject) {
  const auto identity = IssueCertificate(authority, subject);
  if (!identity) return FromError(identity.error());
  const auto certificate = CertificatePem(*identity);
  const auto key = PrivateKeyPem(*identity);
  if (!certificate) return FromError(certificate.error());
  if (!key) return FromError(key.error());
  if (auto written = WriteFile(root / "tls" / (name + ".pem"), *certificate, kPublicMode); !written) return written;
  return WriteFile(root / "tls" / (name + ".key"), *key, kSecretMode);
}

// A CA of its own, and certificates under it, by the names of their files.
Answer<void> WriteIdentities(const fs::path& root, const std::string& authority_name,
                             const std::string& authority_title,
                             const std::vector<std::pair<std::string, Subject>>& subjects) {
  const auto authority = MakeAuthority(authority_title);
  if (!authority) return FromError(authority.error());
  if (auto written = WriteAuthority(root, authority_name, *authority); !written) return written;
  for (const auto& [name, subject] : subjects) {
    if (auto written = WriteIdentity(root, *authority, name, subject); !written) return written;
  }
  return {};
}

Answer<void> WriteCertificates(const DeploymentPlan& plan, const fs::path& root) {
  Subject server{"Hallmark", {"localhost"}, {"127.0.0.1"}, {}, Usage::kServer};
  for (const std::string& listen : {plan.signing_listen, plan.admin_listen}) {
    const std::string address = ListenAddress(listen);
    if (IsAddress(address) && std::count(server.ip_addresses.begin(), server.ip_addresses.end(), address) == 0) {
      server.ip_addresses.push_back(address);
    }
  }
  auto done = WriteIdentities(root, "server-ca", "Hallmark trial server CA", {{"server", server}});
  if (done)
    done = WriteIdentities(root, "relay-ca", "Hallmark trial relay CA",
                           {{"relay1", {"relay1", {"relay1.localdomain"}, {}, {}}}});
  if (done)
    done = WriteIdentities(root, "admin-ca", "Hallmark trial admin CA",
                           {{"operator", {"admin", {}, {}, {"hallmark:operator:admin"}}},
                            {"officer2", {"officer2", {}, {}, {"hallmark:operator:officer2"}}}});
  return done;
}

// The serial out of {"label":"...","serial":"..."}.
std::string SerialOf(const std::string& json) {
  const std::string key = "\"serial\":\"";
  std::string compact = json;
  compact.erase(std::remove(compact.begin(), compact.end(), ' '), compact.end());
  const std::size_t at = compact.find(key);
  if (at == std::string::npos) return "";
  const std::size_t start = at + key.size();
  return compact.substr(start, compact.find('"', start) - start);
}

std::string LastLine(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  const std::size_t end = text.find_last_of('\n');
  return end == std::string::npos ? text : text.substr(end + 1);
}

// PINs travel in their files only. The token is made below the staging folder; SoftHSM stores no paths in it.
Answer<std::string> MakeToken(const DeploymentPlan& plan, const fs::path& root) {
  const fs::path configuration = root / "softhsm" / "softhsm2.conf";
  std::error_code error;
  fs::create_directories(root / "softhsm" / "tokens", error);
  if (error) return Failed((root / "softhsm").string() + ": cannot make the folder: " + error.message());
  if (auto done = WriteFile(configuration, SoftHsmConfig(root), kPublicMode); !done) return done.error();
  auto done = WritePin(root / "secrets" / "pin");
  if (done) done = WritePin(root / "secrets" / "so-pin");
  if (!done) return done.error();
  const fs::path program = CompanionProgram("tokend");
  const auto result =
      RunProgram(program,
                 {"init-token", "--module", plan.module.string(), "--token-label", plan.token_label, "--pin-source",
                  (root / "secrets" / "pin").string(), "--so-pin-source", (root / "secrets" / "so-pin").string()},
                 {{"SOFTHSM2_CONF", configuration.string()}});
  if (!result) return FromError(result.error());
  if (result->exit_code != 0) {
    const std::string why = LastLine(result->err);
    return Failed("cannot initialise the token: " + (why.empty() ? program.string() + " failed without a word" : why));
  }
  if (auto written = WriteFile(configuration, SoftHsmConfig(plan.directory), kPublicMode); !written)
    return written.error();
  return SerialOf(result->out);
}

Answer<void> WriteConfigs(const DeploymentPlan& plan, const fs::path& root) {
  std::error_code error;
  fs::create_directory(root / "state", error);
  if (error) return Failed((root / "state").string() + ": cannot make the folder: " + error.message());
  if (auto done = WriteFile(root / "hallmark.toml", DaemonConfig(plan), kPublicMode); !done) return done;
  if (auto done = WriteFile(root / "policy.toml", PolicyConfig(), kPublicMode); !done) return done;
  if (auto done = WriteFile(root / "milter.toml", MilterConfig(plan), kPublicMode); !done) return done;
  return WriteFile(root / "dkimctl.toml", ClientConfigText(plan), kPublicMode);
}

void Restrict(const fs::path& root) {
  for (const char* folder : {"secrets", "softhsm", "state"}) ::chmod((root / folder).c_str(), 0700);
}

std::vector<std::string> FilesOf(const fs::path& root) {
  std::vector<std::string> files;
  std::error_code error;
  for (const char* folder : {"", "secrets", "softhsm", "tls"}) {
    for (fs::directory_iterator entry(root / folder, error); !error && entry != fs::directory_iterator();
         entry.increment(error)) {
      if (entry->is_regular_file(error)) files.push_back(entry->path().lexically_relative(root).string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

fs::path FindSoftHsm() {
  for (const char* path : {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                           "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"}) {
    std::error_code ignored;
    if (fs::exists(path, ignored)) return path;
  }
  return {};
}

Answer<void> CheckPlan(const DeploymentPlan& plan) {
  std::error_code error;
  // softhsm2.conf has no way to write these.
  if (plan.directory.string().find_first_of("#\r\n") != std::string::npos) {
    return Failed(plan.directory.string() + ": the name of the folder can hold no '#' and no line end");
  }
  if (fs::exists(plan.directory, error)) {
    if (fs::exists(plan.directory / "hallmark.toml", error)) {
      return Failed(plan.directory.string() +
                    " holds a set-up already; name another folder with --dir, or remove it first");
    }
    if (!fs::is_directory(plan.directory, error) || !fs::is_empty(plan.directory, error)) {
      return Failed(plan.directory.string() + " is not empty; name another folder with --dir");
    }
  }
  if (plan.module.empty())
    return Failed("there is no SoftHSM on this machine; install softhsm2, or name a PKCS#11 module with --module");
  if (!fs::exists(plan.module, error)) return Failed(plan.module.string() + ": no such PKCS#11 module");
  if (const fs::path tokend = CompanionProgram("tokend"); ::access(tokend.c_str(), X_OK) != 0) {
    return Failed(tokend.string() + " is missing; a trial set-up needs it: install hallmark-signerd");
  }
  return {};
}

Answer<Deployment> MakeDeployment(const DeploymentPlan& plan) {
  if (auto possible = CheckPlan(plan); !possible) return possible.error();
  const StopSignals stop;  // PINs and keys of CAs are in the staging folder
  auto staging = Staging::Make(plan.directory);
  if (!staging) return staging.error();
  const fs::path& root = staging->path();
  auto serial = MakeToken(plan, root);
  if (!serial) return serial.error();
  auto done = WriteCertificates(plan, root);
  if (done) done = WriteConfigs(plan, root);
  if (!done) return done.error();
  if (const Status on = stop.GoOn(); !on) return FromError(on.error());
  Restrict(root);
  Deployment deployment{std::move(*serial), FilesOf(root)};
  if (auto moved = staging->MoveTo(plan.directory); !moved) return moved.error();
  return deployment;
}

}  // namespace hallmark::ctl
