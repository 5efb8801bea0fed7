#include "firmware/provision/check.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <cstring>

#include "firmware/provision/recipients.h"
#include "firmware/runtime/config.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/issue_certificate.h"
#include "firmware/runtime/program.h"
#include "firmware/runtime/subprocess.h"

namespace hallmark::provision {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kLimit{5};  // a box may be busy, and slow

// Gone when it ends.
class Staging {
 public:
  static Result<Staging> Make() {
    std::error_code failed;
    const fs::path folder = fs::temp_directory_path(failed);
    if (failed) return MakeError(Reason::kIoFailed, "TMPDIR: " + failed.message());
    std::string pattern = (folder / "hallmark-check.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      return MakeError(Reason::kIoFailed, pattern + ": cannot be made: " + std::strerror(errno));
    }
    return Staging(pattern);
  }
  Staging(Staging&& other) noexcept : path_(std::exchange(other.path_, fs::path())) {}
  Staging& operator=(Staging&&) = delete;
  ~Staging() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  Status Put(const std::string& name, std::string_view content) const {
    std::error_code failed;
    fs::create_directories((path_ / name).parent_path(), failed);
    if (failed) return MakeError(Reason::kIoFailed, (path_ / name).string() + ": " + failed.message());
    return WriteFileAtomically(path_ / name, content, 0600);
  }

 private:
  explicit Staging(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// Where the box has what signerd would otherwise take from anywhere.
Status CheckPlaces(const Configuration& configuration, const fs::path& folder) {
  auto file = ConfigFile::Parse(configuration.files.at("hallmark.toml"), folder / "hallmark.toml");
  if (!file) return file.error();
  ConfigTable root = (*file)->root();
  const auto wants = [](ConfigTable& table, const std::string& key, const std::string& value) {
    const std::string expected = "\"" + value + "\", which the box makes";
    const std::string found = table.String(key, expected);
    if (!found.empty() && found != value) table.Reject(key, "found \"" + found + "\"", expected);
  };
  for (const char* listener : {"signing", "admin"}) {
    ConfigTable table = root.Table(listener);
    wants(table, "certificate", "tls/server.pem");
    wants(table, "private_key", "tls/server.key");
  }
  ConfigTable state = root.Table("state");
  wants(state, "directory", "/var/lib/hallmark");
  wants(state, "initial_policy", "policy.toml");
  const auto secret = [](ConfigTable& table) {
    constexpr std::string_view kExpected = "\"secrets/NAME\": what is there nobody else can read on the box";
    if (!table.Has("secret_file")) return;
    const std::string found = table.String("secret_file", kExpected);
    if (!found.starts_with(kSecrets)) table.Reject("secret_file", "found \"" + found + "\"", kExpected);
  };
  if (auto dns = root.OptionalTable("dns")) {
    for (ConfigTable& publisher : dns->OptionalTables("publisher")) secret(publisher);
  }
  if (auto watch = root.OptionalTable("watch")) {
    if (auto webhook = watch->OptionalTable("webhook")) secret(*webhook);
  }
  for (const char* own : {"token", "initial_domain", "initial_rotation"}) {
    if (root.Has(own)) root.Reject(own, "found in a box's configuration", "it in box.toml: the box adds these tables");
  }
  if (auto ledger = root.OptionalTable("ledger"); ledger && HasLedgerToken(configuration.token)) {
    constexpr std::string_view kAdds = "none: with this kind of token the box makes one for the ledger";
    if (ledger->Has("token")) ledger->Reject("token", "found in a box's configuration", kAdds);
    if (AfterLedgerHeader(configuration.files.at("hallmark.toml")) == std::string_view::npos) {
      root.Reject("ledger", "not under a header", "[ledger] on a line of its own: the box adds a key to it");
    }
  }
  return (*file)->Mistakes();
}

std::string ReplaceAll(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

Status PutAll(const Configuration& configuration, const Staging& staging) {
  for (const auto& [name, content] : configuration.files) {
    if (const Status put = staging.Put(name, content); !put) return put;
  }
  // A certificate and a module that stand for those of the box.
  const auto identity = MakeSelfSigned({configuration.host_name, {"localhost"}, {}, {}, Usage::kServer});
  if (!identity) return identity.error();
  const auto certificate = CertificatePem(*identity);
  const auto key = PrivateKeyPem(*identity);
  if (!certificate || !key) return MakeError(Reason::kInternal, "no certificate to check with");
  Status put = staging.Put("tls/server.pem", *certificate);
  if (put) put = staging.Put("tls/server.key", *key);
  if (put) put = staging.Put(".module", "");  // no file of a configuration has such a name
  // A token that adds nothing in between, so that lines keep their numbers.
  Configuration here = configuration;
  here.token = Token{};
  TokenPlaces places;
  places.softhsm = staging.path() / ".module";
  if (put) put = staging.Put("hallmark.toml", DaemonConfig(here, places));
  return put;
}

}  // namespace

Status CheckForDaemon(const Configuration& configuration, const fs::path& folder) {
  if (const Status fit = CheckPlaces(configuration, folder); !fit) return fit;
  if (const auto recipients = configuration.files.find("recipients.pem"); recipients != configuration.files.end()) {
    const Status fit = CheckRecipients(recipients->second, (folder / recipients->first).string());
    if (!fit) return fit;
  }
  const auto staging = Staging::Make();
  if (!staging) return staging.error();
  if (const Status put = PutAll(configuration, *staging); !put) return put;
  const fs::path signerd = CompanionProgram("signerd");
  std::error_code ignored;
  if (!fs::exists(signerd, ignored)) {
    return MakeError(Reason::kNotFound, signerd.string() + " is not there to check with: install hallmark-signerd");
  }
  const auto ran = RunProgram(
      signerd, {"--check", "--appliance", "--config", (staging->path() / "hallmark.toml").string()}, {}, kLimit);
  if (!ran) return ran.error();
  if (ran->exit_code == 0) return Ok();
  std::string why = ReplaceAll(ran->err, staging->path().string() + "/", folder.empty() ? "" : folder.string() + "/");
  while (why.ends_with('\n')) why.pop_back();
  return MakeError(Reason::kConfigInvalid, why.empty() ? "signerd does not take hallmark.toml" : why);
}

}  // namespace hallmark::provision
