#include "firmware/provision/box.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "firmware/provision/check.h"
#include "firmware/provision/files.h"
#include "firmware/provision/make_token.h"
#include "firmware/provision/records.h"
#include "firmware/runtime/config.h"
#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/issue_certificate.h"

namespace hallmark::provision {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kPublic = 0644, kSecret = 0600, kForSignerd = 0640;
constexpr const char* kText = "box/configuration.toml";
constexpr const char* kOrigin = "box/origin.toml";
constexpr const char* kNews = "box/not-told-yet";
constexpr const char* kUnfinished = "set-up-unfinished";

// Everything below is on the disk. One file system: a program that we ran wrote part of it, without a sync.
Status SyncAll(const fs::path& path) {
  const FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return folder && ::syncfs(folder.get()) == 0 ? Ok() : Status(IoError(path, "sync"));
}

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
};

Result<User> FindUser(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return MakeError(Reason::kNotFound, "there is no user " + name + " on this machine");
  return User{entry->pw_uid, entry->pw_gid};
}

Status GiveTo(const User& user, const fs::path& path) {
  if (::lchown(path.c_str(), user.uid, user.gid) != 0) return IoError(path, "change the owner");
  std::error_code failed;
  for (fs::recursive_directory_iterator entry(path, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (::lchown(entry->path().c_str(), user.uid, user.gid) != 0) return IoError(entry->path(), "change the owner");
  }
  return failed ? Status(MakeError(Reason::kIoFailed, path.string() + ": " + failed.message())) : Ok();
}

// What nobody but root and signerd may read.
Status PutForSignerd(const User& user, const fs::path& path, std::string_view content) {
  if (const Status put = Put(path, content, kForSignerd); !put) return put;
  return ::chown(path.c_str(), 0, user.gid) == 0 ? Ok() : Status(IoError(path, "be given to signerd"));
}

// `key_of_before` is the box's own, PEM; empty where it has none yet.
Result<SetUp> MakeCertificate(const Configuration& configuration, const User& user, const fs::path& config,
                              std::string_view key_of_before = {}) {
  const auto identity =
      MakeSelfSigned({configuration.host_name, configuration.dns_names, configuration.ip_addresses, {}, Usage::kServer},
                     key_of_before);
  if (!identity) return identity.error();
  const auto certificate = CertificatePem(*identity);
  const auto key = PrivateKeyPem(*identity);
  if (!certificate) return certificate.error();
  if (!key) return key.error();
  if (const Status put = Put(config / "tls/server.pem", *certificate, kPublic); !put) return put.error();
  if (const Status put = PutForSignerd(user, config / "tls/server.key", *key); !put) return put.error();
  return SetUp{*certificate, Fingerprint(identity->certificate.get()), ""};
}

Status PutFiles(const Configuration& configuration, const std::string& text, const Origin& origin, const User& user,
                const fs::path& config, const Places& places) {
  if (const Status made = MakeFolder(config, 0755); !made) return made;
  for (const auto& [name, content] : configuration.files) {
    const std::string put = name == "hallmark.toml" ? DaemonConfig(configuration, places.tokens) : content;
    const Status done = name.starts_with(kSecrets) ? PutForSignerd(user, config / name, put)  //
                                                   : Put(config / name, put, kPublic);
    if (!done) return done;
  }
  const auto softhsm = ReadFile(places.share / "softhsm2.conf");
  if (!softhsm) return softhsm.error();
  if (const Status done = Put(config / "softhsm2.conf", *softhsm, kPublic); !done) return done;
  if (const Status done = Put(config / kText, text, kSecret); !done) return done;
  toml::table table;
  for (const auto& [key, value] : {std::pair("signer", &origin.signer), std::pair("fingerprint", &origin.fingerprint),
                                   std::pair("key", &origin.key)}) {
    if (!value->empty()) table.insert(key, *value);
  }
  std::ostringstream written;
  written << table << '\n';
  return Put(config / kOrigin, written.str(), kPublic);
}

Status TakeRecovery(const fs::path& config, SetUp& made) {
  auto recovery = ReadFile(config / kRecovery, kMostOctets);
  if (!recovery && recovery.error().reason == Reason::kNotFound) return Ok();
  if (recovery) made.recovery = std::move(*recovery);
  return recovery ? Ok() : Status(recovery.error());
}

fs::path NewOf(const fs::path& path) { return path.string() + ".new"; }

Status ClearNew(const Places& places) {
  if (const Status removed = Remove(NewOf(places.config)); !removed) return removed;
  return Remove(NewOf(places.state));
}

Status Rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return IoError(from, "be put in place");
  return SyncFolder(to.parent_path());
}

// A state that no configuration goes with is ours where a power cut came between the two renames; otherwise nobody's to
// touch.
bool IsOurs(const Places& places) {
  std::error_code ignored;
  return !fs::exists(places.state, ignored) || fs::is_empty(places.state, ignored) ||
         fs::exists(places.state / kUnfinished, ignored);
}

// After ClearNew. Whole or gone: half removed it could have lost the mark that it is ours, and would stay for good.
Status ClearState(const Places& places) {
  if (!IsOurs(places)) {
    return MakeError(Reason::kStateConflict,
                     places.state.string() +
                         " holds the state of a box, but its configuration is not there; nothing was "
                         "changed. Restore a backup on a fresh disk");
  }
  std::error_code ignored;
  if (!fs::exists(places.state, ignored)) return Ok();
  if (const Status moved = Rename(places.state, NewOf(places.state)); !moved) return moved;
  return Remove(NewOf(places.state));
}

// Whether a box with `present` takes this one: from the owner, or from who signed the first, for this box, and newer.
Status MayReplace(const Configuration& configuration, const Origin& origin, const Configuration& present,
                  const Places& places) {
  const auto first = CurrentOrigin(places);
  if (!first) return first.error();
  if (places.owner_ca().empty() && first->key.empty()) {
    return MakeError(Reason::kStateConflict, "this box was set up at its console, and takes no other configuration");
  }
  if (places.owner_ca().empty() && origin.key != first->key) {
    return MakeError(Reason::kStateConflict, "this box takes configurations signed by " + first->signer +
                                                 " only (SHA-256 " + first->fingerprint + ")");
  }
  // All of an owner's boxes take that owner's signature: a stick that was meant for another box would make this one a
  // second of that name.
  if (configuration.host_name != present.host_name && configuration.replaces != present.host_name) {
    return MakeError(Reason::kStateConflict,
                     "it is for " + configuration.host_name + ", and this box is " + present.host_name +
                         "; to give this box that name, have replaces = \"" + present.host_name + "\" in box.toml");
  }
  const Token &token = configuration.token, &before = present.token;
  if (token.kind != before.kind || token.ed25519 != before.ed25519 || token.label != before.label ||
      token.serial != before.serial) {
    return MakeError(Reason::kStateConflict,
                     "it wants another token than this box has, whose kind, name and PIN stay; "
                     "another one takes a factory reset");
  }
  if (configuration.revision > present.revision) return Ok();
  return MakeError(Reason::kStateConflict, "its revision is " + std::to_string(configuration.revision) +
                                               ", and this box has " + std::to_string(present.revision) + " already");
}

// The version that runs, as its image says; empty where it is none.
std::string RunningVersion(const Places& places) {
  constexpr std::string_view kKey = "\nIMAGE_VERSION=";
  const auto read = ReadFile(places.release, kMostOctets);
  if (!read) return "";
  const std::string text = "\n" + *read;
  const std::size_t at = text.find(kKey);
  if (at == std::string::npos) return "";
  const std::size_t from = at + kKey.size();
  return text.substr(from, text.find('\n', from) - from);
}

// Whether that has shown that it signs, so that the one before will not start by itself any more: its kernel image has
// lost the counter of tries. The script update-check asks the same.
bool HasShownThatItSigns(const Places& places) {
  std::error_code ignored;
  return fs::exists(places.kernels / ("hallmark_" + RunningVersion(places) + ".efi"), ignored);
}

// What signerd's unit gets for the token. systemd has read that unit by now; it goes on with what it read, be it more
// than there is.
Status PutUnit(const Token& token, const Places& places, const std::function<Status()>& reload_units) {
  std::error_code ignored;
  const std::string unit = UnitOf(token);
  const bool was_there = fs::exists(places.unit, ignored);
  const Status done = unit.empty() ? Remove(places.unit) : Put(places.unit, unit, kPublic);
  return !done || (unit.empty() && !was_there) ? done : reload_units();
}

// What the box made stays, but for what was made anew. Hard links keep owner and mode.
Status CarryOver(const fs::path& from, const fs::path& to) {
  std::error_code failed, ignored;
  std::vector<const char*> all = {"tls/server.pem",  "tls/server.key",     "pin.cred",   "so-pin.cred",
                                  "ledger-pin.cred", "ledger-so-pin.cred", kRecordsShown};
  // A recovery key that somebody has is not kept here: it may be one of before a recovery, and is not to be told again.
  if (fs::exists(from / kNews, ignored)) all.insert(all.end(), {kNews, kRecovery});
  for (const char* kept : all) {
    if (failed || fs::exists(to / kept, ignored) || !fs::exists(from / kept, ignored)) continue;
    fs::create_directories((to / kept).parent_path(), failed);
    if (!failed) fs::create_hard_link(from / kept, to / kept, failed);
  }
  return failed ? Status(MakeError(Reason::kIoFailed, to.string() + ": " + failed.message())) : Ok();
}

}  // namespace

fs::path Places::owner_ca() const {
  std::error_code ignored;
  const fs::path file = share / "owner-ca.pem";
  return fs::exists(file, ignored) ? file : fs::path();
}

bool IsSetUp(const Places& places) {
  std::error_code ignored;
  return fs::exists(places.config / kText, ignored);
}

Status PutNetwork(const Network& network, const Places& places) {
  const fs::path file = places.network / "70-hallmark.network";
  const std::string text = NetworkFile(network);
  return text.empty() ? Remove(file) : Put(file, text, kPublic);
}

Result<SetUp> Apply(const Configuration& configuration, const std::string& text, const Origin& origin,
                    const Places& places, const Restore& restore, const SecretString* pin) {
  if (IsSetUp(places)) return MakeError(Reason::kStateConflict, "this box is set up already");
  const auto user = FindUser(places.user);
  if (!user) return user.error();
  if (const Status fit = CheckForDaemon(configuration); !fit) return fit.error();
  Status done = ClearNew(places);
  if (done) done = ClearState(places);
  const fs::path config = NewOf(places.config), state = NewOf(places.state);
  if (done) done = MakeFolder(state, 0700);
  if (done && !configuration.restore_sha256.empty()) done = restore(state);
  if (done) done = Put(state / kUnfinished, "", kSecret);
  if (done) done = PutFiles(configuration, text, origin, *user, config, places);
  if (!done) return done.error();
  auto made = MakeCertificate(configuration, *user, config);
  if (!made) return made;
  done = Put(config / kNews, made->fingerprint, kPublic);
  if (done) done = MakeToken(configuration, state, config, places, pin);
  if (done) done = TakeRecovery(config, *made);
  if (done) done = GiveTo(*user, state);
  if (done) done = SyncAll(state.parent_path());
  if (done) done = Rename(state, places.state);
  if (done) done = Rename(config, places.config);
  if (done) done = Remove(places.state / kUnfinished);
  if (!done) return done.error();
  return made;
}

Status ForgetUnfinished(const Places& places) {
  return IsSetUp(places) || !IsOurs(places) ? Ok() : ForgetRecovery(places);
}

Result<SetUp> News(const Places& places) {
  auto fingerprint = ReadFile(places.config / kNews, kMostOctets);
  if (!fingerprint) return fingerprint.error();
  auto certificate = ReadFile(places.config / "tls/server.pem", kMostOctets);
  if (!certificate) return certificate.error();
  SetUp made{std::move(*certificate), std::move(*fingerprint), ""};
  if (const Status taken = TakeRecovery(places.config, made); !taken) return taken.error();
  return made;
}

Status ForgetNews(const Places& places) { return Remove(places.config / kNews); }

Result<SetUp> Replace(const Configuration& configuration, const std::string& text, const Origin& origin,
                      const Places& places) {
  const auto present = Current(places);
  if (!present) return present.error();
  if (const Status may = MayReplace(configuration, origin, *present, places); !may) return may.error();
  if (const Status there = CheckModuleIsThere(configuration.token, present->token); !there) return there.error();
  if (!HasShownThatItSigns(places)) {
    return MakeError(Reason::kStateConflict, "version " + RunningVersion(places) +
                                                 " has not shown yet that it signs; start the box again once it has");
  }
  const auto user = FindUser(places.user);
  if (!user) return user.error();
  if (const Status fit = CheckForDaemon(configuration); !fit) return fit.error();
  Status done = ClearNew(places);
  const fs::path config = NewOf(places.config);
  if (done) done = PutFiles(configuration, text, origin, *user, config, places);
  if (!done) return done.error();
  SetUp made;
  if (configuration.dns_names != present->dns_names || configuration.ip_addresses != present->ip_addresses) {
    const auto key = ReadWholeSecretFile(places.config / "tls/server.key");
    if (!key) return key.error();
    auto certificate = MakeCertificate(configuration, *user, config, key->view());
    if (!certificate) return certificate;
    made = std::move(*certificate);
    done = Put(config / kNews, made.fingerprint, kPublic);
  }
  if (done) done = CarryOver(places.config, config);
  if (done) done = SyncAll(config.parent_path());
  if (!done) return done.error();
  if (::renameat2(AT_FDCWD, config.c_str(), AT_FDCWD, places.config.c_str(), RENAME_EXCHANGE) != 0) {
    return IoError(places.config, "be exchanged");
  }
  done = SyncFolder(places.config.parent_path());
  if (done) done = Remove(config);
  if (!done) return done.error();
  return made;
}

Result<Configuration> Current(const Places& places) {
  const auto text = ReadFile(places.config / kText, kMostOctets);
  if (!text) return text.error();
  return ParsePacked(*text, places.config / kText);
}

std::string CurrentText(const Places& places) {
  const auto text = ReadFile(places.config / kText, kMostOctets);
  return text ? *text : "";
}

Result<Origin> CurrentOrigin(const Places& places) {
  auto file = ConfigFile::Load(places.config / kOrigin);
  if (!file) return file.error();
  ConfigTable root = (*file)->root();
  Origin origin;
  origin.signer = root.String("signer", "who signed", "");
  origin.fingerprint = root.String("fingerprint", "a certificate's SHA-256", "");
  origin.key = root.String("key", "a public key's SHA-256", "");
  if (const Status finished = (*file)->Finish(); !finished) return finished.error();
  return origin;
}

Status Settle(const Places& places, const std::function<Status(const std::string&)>& set_host_name,
              const std::function<Status()>& reload_units) {
  if (const Status cleared = ClearNew(places); !cleared) return cleared;
  if (!IsSetUp(places)) return Ok();
  if (const Status removed = Remove(places.state / kUnfinished); !removed) return removed;
  const auto configuration = Current(places);
  if (!configuration) return configuration.error();
  if (const Status named = set_host_name(configuration->host_name); !named) return named;
  if (const Status done = PutNetwork(configuration->network, places); !done) return done;
  if (const Status done = PutUnit(configuration->token, places, reload_units); !done) return done;
  const fs::path time = places.run / "time/hallmark.sources";
  std::string servers;
  for (const std::string& server : configuration->time_servers) servers += "server " + server + " iburst\n";
  return servers.empty() ? Remove(time) : Put(time, servers, kPublic);
}

}  // namespace hallmark::provision
