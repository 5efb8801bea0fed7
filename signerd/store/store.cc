#include "signerd/store/store.h"

#include "signerd/store/rows.h"

namespace hallmark::store {
namespace {

constexpr char kSelectDomain[] =
    "SELECT name, profile, created, (SELECT count(*) FROM key WHERE key.domain = domain.name AND state = ?1) FROM "
    "domain ";

DomainRow ReadDomain(const Statement& row) { return {row.Text(0), row.Text(1), ReadTime(row, 2), row.Integer(3)}; }

Status RequireChange(const Database& database, const std::string& what) {
  if (database.changes() == 1) return Ok();
  return MakeError(Reason::kNotFound, what + " does not exist");
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& path) {
  auto database = Database::Open(path);
  if (!database) return database.error();
  // It holds the operators' TOTP secrets. SQLite gives its other files the same permissions.
  std::error_code failed;
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write, failed);
  if (failed) return MakeError(Reason::kStorageFailed, path.string() + ": cannot restrict it: " + failed.message());
  std::unique_ptr<Store> store(new Store(std::move(*database)));
  const Status migrated = store->Migrate();
  if (!migrated) return migrated.error();
  return store;
}

Status Store::InsertDomain(const DomainRow& domain) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("INSERT INTO domain (name, profile, created) VALUES (?, ?, ?)");
  if (!statement) return statement.error();
  const Status done = statement->Bind(1, domain.name).Bind(2, domain.profile).Bind(3, WriteTime(domain.created)).Run();
  if (!done && done.error().reason == Reason::kAlreadyExists) {
    return MakeError(Reason::kAlreadyExists, "the domain " + domain.name + " exists already");
  }
  return done;
}

Result<DomainRow> Store::GetDomain(const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectDomain) + "WHERE name = ?2");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, WriteState(snapshot::KeyState::kActive)).Bind(2, name).Step();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "the domain " + name + " does not exist");
  return ReadDomain(*statement);
}

Result<std::vector<DomainRow>> Store::ListDomains(const Page& page) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectDomain) + "WHERE name > ?2 ORDER BY name LIMIT ?3");
  if (!statement) return statement.error();
  statement->Bind(1, WriteState(snapshot::KeyState::kActive)).Bind(2, page.after).Bind(3, page.most);
  return Collect<DomainRow>(*statement, [](const Statement& row) -> Result<DomainRow> { return ReadDomain(row); });
}

Status Store::SetDomainProfile(const std::string& name, const std::string& profile) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("UPDATE domain SET profile = ? WHERE name = ?");
  if (!statement) return statement.error();
  const Status done = statement->Bind(1, profile).Bind(2, name).Run();
  return done ? RequireChange(database_, "the domain " + name) : done;
}

Status Store::InsertProfile(const dkim::SigningProfile& profile) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("INSERT INTO profile VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  const Status done = BindProfile(*statement, profile).Run();
  if (!done && done.error().reason == Reason::kAlreadyExists) {
    return MakeError(Reason::kAlreadyExists, "the signing profile " + profile.name + " exists already");
  }
  return done;
}

Status Store::UpdateProfile(const dkim::SigningProfile& profile) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "UPDATE profile SET header_canonicalization = ?2, body_canonicalization = ?3, signed_fields = ?4, "
      "oversigned_fields = ?5, excluded_fields = ?6, line_endings = ?7, auid = ?8, expires_after = ?9, timestamp = "
      "?10, "
      "query_method = ?11, copied_fields = ?12, body_length = ?13 WHERE name = ?1");
  if (!statement) return statement.error();
  const Status done = BindProfile(*statement, profile).Run();
  return done ? RequireChange(database_, "the signing profile " + profile.name) : done;
}

Result<dkim::SigningProfile> Store::GetProfile(const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT * FROM profile WHERE name = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, name).Step();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "the signing profile " + name + " does not exist");
  return ReadProfile(*statement);
}

Result<std::vector<dkim::SigningProfile>> Store::ListProfiles() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT * FROM profile ORDER BY name");
  if (!statement) return statement.error();
  return Collect<dkim::SigningProfile>(
      *statement, [](const Statement& row) -> Result<dkim::SigningProfile> { return ReadProfile(row); });
}

Status Store::InsertKey(const snapshot::Key& key) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "INSERT INTO key (domain, selector, token, cka_id, public_key, state, created, state_since, exposed) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return statement.error();
  const Bytes spki = key.public_key->Spki();
  const Status done = statement->Bind(1, key.domain)
                          .Bind(2, key.selector)
                          .Bind(3, key.token)
                          .Bind(4, ByteView(key.cka_id))
                          .Bind(5, ByteView(spki))
                          .Bind(6, WriteState(key.state))
                          .Bind(7, WriteTime(key.created))
                          .Bind(8, WriteTime(key.state_since))
                          .Bind(9, std::int64_t{key.exposed})
                          .Run();
  if (!done && done.error().reason == Reason::kAlreadyExists) {
    return MakeError(Reason::kAlreadyExists,
                     "the selector " + key.selector + " or this key of the token is already in use for " + key.domain);
  }
  return done;
}

Result<bool> Store::SelectorTaken(const std::string& domain, const std::string& selector) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT 1 FROM key WHERE domain = ?1 AND selector = ?2 UNION ALL "
      "SELECT 1 FROM planned_key WHERE domain = ?1 AND selector = ?2");
  if (!statement) return statement.error();
  return statement->Bind(1, domain).Bind(2, selector).Step();
}

Result<snapshot::Key> Store::GetKey(const std::string& domain, const std::string& selector) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectKey) + "WHERE domain = ? AND selector = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, domain).Bind(2, selector).Step();
  if (!row) return row.error();
  if (!*row) return MakeError(Reason::kNotFound, "the domain " + domain + " has no key with selector " + selector);
  return ReadKey(*statement);
}

Result<std::vector<snapshot::Key>> Store::ListKeys(const std::string& domain, const Page& page) {
  const std::size_t slash = page.after.find('/');
  const std::string after_domain = page.after.substr(0, slash);
  const std::string after_selector = slash == std::string::npos ? "" : page.after.substr(slash + 1);
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectKey) +
                                     "WHERE (?1 = '' OR domain = ?1) AND (domain, selector) > (?2, ?3) "
                                     "ORDER BY domain, selector LIMIT ?4");
  if (!statement) return statement.error();
  statement->Bind(1, domain).Bind(2, after_domain).Bind(3, after_selector).Bind(4, page.most);
  return Collect<snapshot::Key>(*statement, &ReadKey);
}

Result<std::optional<Store::LedgerKey>> Store::GetLedgerKey() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT token, cka_id, public_key FROM ledger_key");
  if (!statement) return statement.error();
  const auto row = statement->Step();
  if (!row) return row.error();
  if (!*row) return std::optional<LedgerKey>();
  return std::optional(LedgerKey{statement->Text(0), statement->Blob(1), statement->Blob(2)});
}

namespace {

Status PutLedgerKey(Database& database, const Store::LedgerKey& key) {
  auto statement = database.Prepare("INSERT INTO ledger_key (one, token, cka_id, public_key) VALUES (1, ?, ?, ?)");
  if (!statement) return statement.error();
  return statement->Bind(1, key.token).Bind(2, ByteView(key.cka_id)).Bind(3, ByteView(key.spki)).Run();
}

}  // namespace

Status Store::InsertLedgerKey(const LedgerKey& key) {
  const std::lock_guard lock(mutex_);
  return PutLedgerKey(database_, key);
}

Status Store::ReplaceLedgerKey(const LedgerKey& key, const std::string& origin) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  auto past =
      database_.Prepare("INSERT INTO past_ledger_key (origin, public_key) SELECT ?, public_key FROM ledger_key");
  if (!past) return past.error();
  Status done = past->Bind(1, origin).Run();
  if (done) done = database_.Execute("DELETE FROM ledger_key");
  if (done) done = PutLedgerKey(database_, key);
  return done ? transaction->Commit() : done;
}

Result<std::vector<Store::PastLedgerKey>> Store::ListPastLedgerKeys() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT origin, public_key FROM past_ledger_key ORDER BY number");
  if (!statement) return statement.error();
  return Collect<PastLedgerKey>(*statement, [](const Statement& row) -> Result<PastLedgerKey> {
    return PastLedgerKey{row.Text(0), row.Blob(1)};
  });
}

Status Store::Copy(const std::filesystem::path& database, const std::filesystem::path& copy) {
  auto opened = Database::Open(database);
  if (!opened) return opened.error();
  auto statement = opened->Prepare("VACUUM INTO ?");
  return statement ? statement->Bind(1, copy.native()).Run() : Status(statement.error());
}

namespace {

// The key as `previous` has it, if it is the same: its public part may be parsed already.
std::shared_ptr<const snapshot::Key> Share(snapshot::Key key, const snapshot::Snapshot* previous) {
  const snapshot::Domain* domain = previous == nullptr ? nullptr : previous->FindDomain(key.domain);
  if (domain != nullptr) {
    for (const auto& known : domain->active_keys) {
      if (known->selector == key.selector && known->token == key.token && known->state_since == key.state_since &&
          known->public_key->Spki() == key.public_key->Spki()) {
        return known;
      }
    }
  }
  return std::make_shared<const snapshot::Key>(std::move(key));
}

}  // namespace

Result<std::vector<snapshot::Key>> Store::ListActiveKeys() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(std::string(kSelectKey) + "WHERE state = ?");
  if (!statement) return statement.error();
  statement->Bind(1, WriteState(snapshot::KeyState::kActive));
  return Collect<snapshot::Key>(*statement, &ReadKey);
}

Result<std::shared_ptr<snapshot::Snapshot>> Store::BuildSnapshot(const snapshot::Snapshot* previous) {
  constexpr std::int64_t kAll = -1;  // SQLite: no limit
  // Others change the store between these: what is named is read after what names it, as it is there first.
  auto keys = ListActiveKeys();
  if (!keys) return keys.error();
  auto domains = ListDomains({"", kAll});
  if (!domains) return domains.error();
  auto profiles = ListProfiles();
  if (!profiles) return profiles.error();

  auto built = std::make_shared<snapshot::Snapshot>();
  std::map<std::string, std::shared_ptr<const dkim::PreparedProfile>> by_name;
  for (auto& profile : *profiles) {
    const std::string name = profile.name;
    by_name[name] = std::make_shared<const dkim::PreparedProfile>(std::move(profile));
  }
  by_name["default"] = std::make_shared<const dkim::PreparedProfile>(dkim::DefaultProfile());
  for (const DomainRow& row : *domains) {
    const auto profile = by_name.find(row.profile);
    if (profile == by_name.end()) {
      return MakeError(Reason::kStorageFailed, "the domain " + row.name + " has the unknown profile " + row.profile);
    }
    built->domains.emplace(row.name, snapshot::Domain{row.name, profile->second, {}});
  }
  for (snapshot::Key& key : *keys) {
    auto& active = built->domains.at(key.domain).active_keys;  // domains are never deleted
    // RSA first: a verifier that stops at the first signature knows it. Then by selector.
    const auto place = std::find_if(active.begin(), active.end(), [&](const auto& other) {
      return std::pair(key.public_key->algorithm(), key.selector) <
             std::pair(other->public_key->algorithm(), other->selector);
    });
    active.insert(place, Share(std::move(key), previous));
  }
  auto policy = GetPolicy();
  if (!policy) return policy.error();
  for (auto& [name, partner] : policy->partners) built->partners.insert_or_assign(name, std::move(partner));
  for (auto& [name, relay] : policy->relays) built->relays.emplace(relay.identity, std::move(relay));
  const auto revoked = ListRevokedCertificates();
  if (!revoked) return revoked.error();
  for (const RevokedCertificate& certificate : *revoked) built->revoked_certificates.insert(certificate.fingerprint);
  return built;
}

}  // namespace hallmark::store
