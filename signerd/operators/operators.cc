#include "signerd/operators/operators.h"

#include <algorithm>

#include "firmware/runtime/identity.h"
#include "signerd/operators/totp.h"

namespace hallmark::operators {
namespace {

constexpr std::int64_t kFreeFailures = 5;
constexpr std::chrono::seconds kFirstLock{30}, kLongestLock{3600};
constexpr std::chrono::seconds kClockNoise{60};
constexpr std::chrono::minutes kEnrollmentTime{10};
constexpr std::size_t kMostPending = 100;
constexpr std::size_t kOfficersThatEndTheBeginning = 2;

std::chrono::seconds LockAfter(std::int64_t failures) {
  if (failures < kFreeFailures) return std::chrono::seconds(0);
  const std::int64_t doublings = std::min<std::int64_t>(failures - kFreeFailures, 7);  // 30 s * 2^7 is over an hour
  return std::min(kLongestLock, kFirstLock * (std::int64_t{1} << doublings));
}

// A lock that ends later than one may is of a clock that was ahead.
bool IsLocked(const OperatorRow& row, std::chrono::sys_seconds now) {
  return row.locked_until > now && row.locked_until - now <= LockAfter(row.failures) + kClockNoise;
}

// As others see it: it has a lock only while no code is taken.
OperatorRow Shown(OperatorRow row, std::chrono::sys_seconds now) {
  if (!IsLocked(row, now)) row.locked_until = {};
  return row;
}

bool IsIdentity(std::string_view text) {
  return (text.starts_with("dns:") || text.starts_with("uri:")) && text.size() > 4 && text.size() <= 1024;
}

// Of rows that a version before kept as they were written. One whose identity another has by now stays, and lets nobody
// in: the certificate is the other's.
void NormalizeIdentities(std::vector<OperatorRow>& rows) {
  std::set<std::string> taken;
  for (const OperatorRow& row : rows) {
    if (row.state != OperatorState::kRemoved) taken.insert(row.identity);
  }
  for (OperatorRow& row : rows) {
    std::string normal = NormalIdentity(row.identity);
    if (row.state == OperatorState::kRemoved || taken.insert(normal).second) row.identity = std::move(normal);
  }
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

// The last part of "uri:hallmark:operator:admin": "admin".
std::string NameFromIdentity(const std::string& identity) {
  std::string name = identity.substr(identity.find_last_of(":/") + 1);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return name;
}

bool IsCode(std::string_view code) {
  return code.size() == totp::kDigits &&
         std::all_of(code.begin(), code.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Error Unknown() { return MakeError(Reason::kCallerUnknown, "the client certificate is not that of an operator"); }
Error NoCode() { return MakeError(Reason::kInvalidArgument, "code: expected six digits"); }

Error Locked(const OperatorRow& row, std::chrono::sys_seconds now) {
  return MakeError(Reason::kLockedOut, "too many refused codes: " + row.name + " may try again in " +
                                           std::to_string((row.locked_until - now).count()) + " s");
}

}  // namespace

Result<std::unique_ptr<Operators>> Operators::Open(store::Store& store, const Clock& clock, Options options) {
  auto rows = store.ListOperators();
  if (!rows) return rows.error();
  std::unique_ptr<Operators> opened(new Operators(store, clock, std::move(options)));
  NormalizeIdentities(*rows);
  for (OperatorRow& row : *rows) {
    std::string name = row.name;
    opened->rows_.emplace(std::move(name), std::move(row));
  }
  return opened;
}

const OperatorRow* Operators::FindLocked(const Peer& peer) const {
  const OperatorRow* found = nullptr;
  for (const auto& [name, row] : rows_) {
    if (row.state == OperatorState::kRemoved) continue;
    if (std::count(peer.identities.begin(), peer.identities.end(), row.identity) == 0) continue;
    if (found != nullptr) return nullptr;  // a certificate that names two speaks for neither
    found = &row;
  }
  return found;
}

std::string Operators::FirstOfficerLocked(const Peer& peer) const {
  const auto was_officer = [](const auto& entry) {
    return entry.second.role == Role::kOfficer && entry.second.enrolled != std::chrono::sys_seconds();
  };
  if (static_cast<std::size_t>(std::count_if(rows_.begin(), rows_.end(), was_officer)) >=
      kOfficersThatEndTheBeginning) {
    return "";
  }
  std::string found;
  for (const std::string& identity : peer.identities) {
    const bool known =
        std::any_of(rows_.begin(), rows_.end(), [&](const auto& entry) { return entry.second.identity == identity; });
    if (known || !options_.first_officers.contains(identity)) continue;
    if (!found.empty()) return "";
    found = identity;
  }
  return found;
}

Result<OperatorRow> Operators::Identify(const Peer& peer) const {
  const std::lock_guard lock(mutex_);
  const OperatorRow* row = FindLocked(peer);
  if (row == nullptr) return Unknown();
  return *row;
}

std::optional<Sessions::Holder> Operators::FindSession(const Bytes& certificate, const std::string& token) const {
  return sessions_.Find(token, certificate, clock_.Now());
}

Result<OperatorRow> Operators::Authorize(const Peer& peer, const std::string& token) const {
  auto row = Identify(peer);
  if (!row) {
    const std::lock_guard lock(mutex_);
    if (FirstOfficerLocked(peer).empty()) return row;
    return MakeError(Reason::kLoginRequired, "enrol first, with: dkimctl operator enroll");
  }
  if (row->state != OperatorState::kEnrolled) {
    return MakeError(Reason::kLoginRequired, row->name + " has to enrol first, with: dkimctl operator enroll");
  }
  const Status session = HasSession(row->name, peer.certificate, token);
  return session ? row : Result<OperatorRow>(session.error());
}

Status Operators::HasSession(const std::string& name, const Bytes& certificate, const std::string& token) const {
  const auto session = sessions_.Find(token, certificate, clock_.Now());
  if (session && session->name == name) return Ok();
  return MakeError(Reason::kLoginRequired, token.empty() ? "log in first, with: dkimctl login"
                                                         : "the session is over: log in, with: dkimctl login");
}

Status Operators::MayLogin(const Peer& peer, const std::string& code) const {
  if (!IsCode(code)) return NoCode();
  const auto row = Identify(peer);
  if (!row) {
    const Status may = MayEnroll(peer);
    if (!may) return row.error();
    return MakeError(Reason::kLoginRefused, "enrol first, with: dkimctl operator enroll");
  }
  if (row->state != OperatorState::kEnrolled) {
    return MakeError(Reason::kLoginRefused, row->name + " has to enrol first, with: dkimctl operator enroll");
  }
  const auto now = clock_.Now();
  if (IsLocked(*row, now)) return Locked(*row, now);
  return Ok();
}

Status Operators::MayEnroll(const Peer& peer) const {
  const std::lock_guard lock(mutex_);
  const OperatorRow* row = FindLocked(peer);
  if (row == nullptr && FirstOfficerLocked(peer).empty()) return Unknown();
  if (row != nullptr && row->state == OperatorState::kEnrolled) {
    return MakeError(Reason::kStateConflict,
                     row->name + " is enrolled already; a new secret needs: dkimctl operator reset " + row->name);
  }
  return Ok();
}

Result<OperatorRow> Operators::Get(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(name);
  if (found == rows_.end() || found->second.state == OperatorState::kRemoved) {
    return MakeError(Reason::kNotFound, "there is no operator " + name);
  }
  return Shown(found->second, clock_.Now());
}

std::vector<OperatorRow> Operators::List() const {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.Now();
  std::vector<OperatorRow> rows;
  for (const auto& [name, row] : rows_) rows.push_back(Shown(row, now));
  return rows;
}

Status Operators::Save(const OperatorRow& row) {
  const Status saved = store_.UpdateOperator(row);
  if (!saved) return saved;
  const std::lock_guard lock(mutex_);
  rows_[row.name] = row;
  return Ok();
}

Result<LoggedIn> Operators::OpenSession(const OperatorRow& row, const Peer& peer) {
  auto session = sessions_.Open(row.name, peer.certificate, clock_.Now(), options_.session);
  if (!session) return session.error();
  return LoggedIn{std::move(*session), row};
}

Result<OperatorRow> Operators::RowToEnroll(const Peer& peer, const std::string& name) const {
  const Status may = MayEnroll(peer);
  if (!may) return may.error();
  const std::lock_guard lock(mutex_);
  if (const OperatorRow* row = FindLocked(peer); row != nullptr) return *row;
  OperatorRow first;
  first.identity = FirstOfficerLocked(peer);
  first.name = name.empty() ? NameFromIdentity(first.identity) : name;
  first.role = Role::kOfficer;
  if (!IsName(first.name)) {
    return MakeError(Reason::kInvalidArgument,
                     "name: expected 1 to 63 lower-case letters, digits, '.', '-' and '_', found " + first.name);
  }
  if (rows_.contains(first.name)) {
    return MakeError(Reason::kAlreadyExists, "name: " + first.name + " is used already: choose another");
  }
  return first;
}

Result<Enrollment> Operators::BeginEnrollment(const Peer& peer, const std::string& name) {
  auto row = RowToEnroll(peer, name);
  if (!row) return row.error();
  auto secret = totp::NewSecret();
  if (!secret) return secret.error();
  const auto now = clock_.Now();
  std::erase_if(pending_, [&](const auto& entry) { return entry.second.expires <= now; });
  if (pending_.size() >= kMostPending) {
    return MakeError(Reason::kOverloaded, "too many enrolments are under way: try again in some minutes");
  }
  row->secret = std::move(*secret);
  Enrollment begun{row->name, row->role, row->secret};
  pending_.insert_or_assign(peer.certificate, Pending{std::move(*row), now + kEnrollmentTime});
  return begun;
}

Result<LoggedIn> Operators::FinishEnrollment(const Peer& peer, const std::string& code) {
  if (!IsCode(code)) return NoCode();
  const auto now = clock_.Now();
  const auto pending = pending_.find(peer.certificate);
  if (pending == pending_.end() || pending->second.expires <= now) {
    return MakeError(Reason::kStateConflict, "no enrolment is under way: begin again");
  }
  // What was true when it began may not be any more: an officer reset or removed the operator, two officers enrolled.
  const auto expected = RowToEnroll(peer, pending->second.row.name);
  if (!expected) return expected.error();
  OperatorRow row = *expected;
  row.secret = pending->second.row.secret;
  const auto step = totp::MatchingStep(row.secret, code, now);
  if (!step) return MakeError(Reason::kLoginRefused, "the code is not right: see that the clock of your device is");
  const bool first = row.created == std::chrono::sys_seconds();
  row.state = OperatorState::kEnrolled;
  row.last_step = *step;
  row.failures = 0;
  row.locked_until = {};
  if (first) row.created = now;
  row.enrolled = now;
  Status saved = first ? store_.InsertOperator(row) : Save(row);
  if (!saved) return saved.error();
  if (first) {
    const std::lock_guard lock(mutex_);
    rows_[row.name] = row;
  }
  pending_.erase(peer.certificate);
  return OpenSession(row, peer);
}

Result<LoggedIn> Operators::Login(const Peer& peer, const std::string& code) {
  const Status may = MayLogin(peer, code);
  if (!may) return may.error();
  auto row = Identify(peer);
  if (!row) return row.error();
  const auto now = clock_.Now();
  const auto step = totp::MatchingStep(row->secret, code, now);
  // A code that was used is no guess: it is refused, but neither counted nor written down.
  if (step && *step <= row->last_step) {
    return MakeError(Reason::kLoginRefused, "this code was used already: wait for the next one");
  }
  if (!step) {
    ++row->failures;
    row->locked_until = now + LockAfter(row->failures);
    const Status saved = Save(*row);
    if (!saved) return saved.error();
    return row->locked_until > now ? Locked(*row, now) : MakeError(Reason::kLoginRefused, "the code is not right");
  }
  row->last_step = *step;
  row->failures = 0;
  row->locked_until = {};
  const Status saved = Save(*row);
  if (!saved) return saved.error();
  return OpenSession(*row, peer);
}

Status Operators::CanCreate(const OperatorRow& row) const {
  if (!IsName(row.name)) {
    return MakeError(Reason::kInvalidArgument,
                     "name: expected 1 to 63 lower-case letters, digits, '.', '-' and '_', found " + row.name);
  }
  if (!IsIdentity(row.identity)) {
    return MakeError(Reason::kInvalidArgument,
                     "identity: expected dns:NAME or uri:URI, as in the certificate, found " + row.identity);
  }
  const std::lock_guard lock(mutex_);
  if (rows_.contains(row.name)) {
    return MakeError(Reason::kAlreadyExists, "the name " + row.name + " is used, or was before: choose another");
  }
  for (const auto& [name, other] : rows_) {
    if (other.state != OperatorState::kRemoved && other.identity == row.identity) {
      return MakeError(Reason::kAlreadyExists, row.identity + " is the identity of " + name + " already");
    }
  }
  return Ok();
}

Result<OperatorRow> Operators::Create(const std::string& name, const std::string& identity, Role role) {
  OperatorRow row;
  row.name = name;
  row.identity = identity;
  row.role = role;
  row.created = clock_.Now();
  Status done = CanCreate(row);
  if (done) done = store_.InsertOperator(row);
  if (!done) return done.error();
  const std::lock_guard lock(mutex_);
  rows_[row.name] = row;
  return row;
}

Result<OperatorRow> Operators::Remove(const std::string& name) {
  auto row = Get(name);
  if (!row) return row;
  row->state = OperatorState::kRemoved;
  row->secret.clear();
  const Status saved = Save(*row);
  if (!saved) return saved.error();
  sessions_.EndAll(name);
  return row;
}

Result<OperatorRow> Operators::Reset(const std::string& name) {
  auto row = Get(name);
  if (!row) return row;
  row->state = OperatorState::kInvited;
  row->secret.clear();
  row->failures = 0;
  row->locked_until = {};
  const Status saved = Save(*row);
  if (!saved) return saved.error();
  sessions_.EndAll(name);
  return row;
}

}  // namespace hallmark::operators
