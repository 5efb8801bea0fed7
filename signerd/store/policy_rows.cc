#include <set>

#include "signerd/store/rows.h"
#include "signerd/store/store.h"

namespace hallmark::store {
namespace {

using snapshot::Partner;
using snapshot::Relay;

template <class Number>
std::int64_t Whole(Number number) {
  return static_cast<std::int64_t>(number);
}

std::int64_t WriteOptionalTime(const std::optional<std::chrono::sys_seconds>& time) {
  return time ? WriteTime(*time) : 0;
}

std::optional<std::chrono::sys_seconds> ReadOptionalTime(const Statement& row, int column) {
  return row.Integer(column) == 0 ? std::nullopt : std::optional(ReadTime(row, column));
}

template <class List>
std::string Lines(const List& list) {
  const std::set<std::string> in_order(list.begin(), list.end());
  return JoinLines({in_order.begin(), in_order.end()});
}

// Binds all twenty columns, in the order of the table.
Statement& BindPartner(Statement& statement, const Partner& partner) {
  std::vector<std::string> addresses;
  for (const auto& pattern : partner.addresses) addresses.push_back(pattern.text());
  const auto& [forbid_bcc, require_date, require_message_id, max_octets] = partner.message;
  const snapshot::Quota& quota = partner.quota;
  return statement.Bind(1, partner.name)
      .Bind(2, Whole(partner.state))
      .Bind(3, Lines(partner.author_domains.texts()))
      .Bind(4, Lines(partner.signing_domains.texts()))
      .Bind(5, JoinLines(addresses))
      .Bind(6, Whole(partner.alignment))
      .Bind(7, Whole(forbid_bcc))
      .Bind(8, Whole(require_date))
      .Bind(9, Whole(require_message_id))
      .Bind(10, Whole(max_octets))
      .Bind(11, Whole(quota.rate_per_second))
      .Bind(12, Whole(quota.burst))
      .Bind(13, Whole(quota.messages_per_day))
      .Bind(14, Whole(quota.recipients_per_message))
      .Bind(15, Whole(quota.recipients_per_day))
      .Bind(16, WriteOptionalTime(partner.not_before))
      .Bind(17, WriteOptionalTime(partner.not_after))
      .Bind(18, Whole(partner.weight))
      .Bind(19, Lines(partner.watch.suspend_on))
      .Bind(20, partner.watch.hard_limit_per_minute);
}

Error Damaged(const std::string& what, const Error& error) {
  return MakeError(Reason::kStorageFailed, "the record of " + what + " is damaged: " + error.message);
}

Result<Partner> ReadPartner(const Statement& row) {
  Partner partner;
  partner.name = row.Text(0);
  partner.state = static_cast<snapshot::PartnerState>(row.Integer(1));
  auto author_domains = snapshot::DomainRules::Parse(SplitLines(row.Text(2)));
  if (!author_domains) return Damaged("partner " + partner.name, author_domains.error());
  partner.author_domains = std::move(*author_domains);
  auto signing_domains = snapshot::DomainRules::Parse(SplitLines(row.Text(3)));
  if (!signing_domains) return Damaged("partner " + partner.name, signing_domains.error());
  partner.signing_domains = std::move(*signing_domains);
  for (const std::string& text : SplitLines(row.Text(4))) {
    auto pattern = snapshot::AddressPattern::Parse(text);
    if (!pattern) return Damaged("partner " + partner.name, pattern.error());
    partner.addresses.push_back(std::move(*pattern));
  }
  partner.alignment = static_cast<snapshot::Alignment>(row.Integer(5));
  partner.message = {row.Integer(6) != 0, row.Integer(7) != 0, row.Integer(8) != 0,
                     static_cast<std::uint64_t>(row.Integer(9))};
  partner.quota = {static_cast<std::uint32_t>(row.Integer(10)), static_cast<std::uint32_t>(row.Integer(11)),
                   static_cast<std::uint64_t>(row.Integer(12)), static_cast<std::uint64_t>(row.Integer(13)),
                   static_cast<std::uint64_t>(row.Integer(14))};
  partner.not_before = ReadOptionalTime(row, 15);
  partner.not_after = ReadOptionalTime(row, 16);
  partner.weight = static_cast<double>(row.Integer(17));
  for (std::string& kind : SplitLines(row.Text(18))) partner.watch.suspend_on.insert(std::move(kind));
  partner.watch.hard_limit_per_minute = row.Integer(19);
  return partner;
}

Relay ReadRelay(const Statement& row) {
  Relay relay{row.Text(0), row.Text(1), {}, static_cast<snapshot::RelayState>(row.Integer(3))};
  for (std::string& partner : SplitLines(row.Text(2))) relay.partners.insert(std::move(partner));
  return relay;
}

Status Delete(Database& database, const std::string& table, const std::vector<std::string>& names) {
  auto statement = database.Prepare("DELETE FROM " + table + " WHERE name = ?");
  if (!statement) return statement.error();
  for (const std::string& name : names) {
    const Status done = statement->Bind(1, name).Run();
    if (!done) return done;
  }
  return Ok();
}

template <class T>
std::vector<std::string> NamesOf(const std::vector<T>& entries) {
  std::vector<std::string> names;
  for (const T& entry : entries) names.push_back(entry.name);
  return names;
}

Status InsertAll(Database& database, const snapshot::PolicyEdit& edit) {
  auto partners =
      database.Prepare("INSERT INTO partner VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  if (!partners) return partners.error();
  for (const Partner& partner : edit.put_partners) {
    const Status done = BindPartner(*partners, partner).Run();
    if (!done) return done;
  }
  auto relays = database.Prepare("INSERT INTO relay VALUES (?, ?, ?, ?)");
  if (!relays) return relays.error();
  for (const Relay& relay : edit.put_relays) {
    const Status done = relays->Bind(1, relay.name)
                            .Bind(2, relay.identity)
                            .Bind(3, Lines(relay.partners))
                            .Bind(4, Whole(relay.state))
                            .Run();
    if (!done) return done;
  }
  return Ok();
}

Status CheckStates(Database& database, const std::map<std::string, Partner>& expected) {
  auto statement = database.Prepare("SELECT name, state FROM partner");
  if (!statement) return statement.error();
  std::size_t same = 0, present = 0;
  while (true) {
    const auto row = statement->Step();
    if (!row) return row.error();
    if (!*row) break;
    ++present;
    const auto found = expected.find(statement->Text(0));
    if (found != expected.end() && Whole(found->second.state) == statement->Integer(1)) ++same;
  }
  if (same == present && present == expected.size()) return Ok();
  return MakeError(Reason::kStateConflict, "the policy was changed meanwhile: look again");
}

std::vector<std::string> RevokedIn(const snapshot::Policy& from, const snapshot::PolicyEdit& edit) {
  std::vector<std::string> revoked;
  for (const Partner& partner : edit.put_partners) {
    const auto before = from.partners.find(partner.name);
    const bool was = before != from.partners.end() && before->second.state == snapshot::PartnerState::kRevoked;
    if (partner.state == snapshot::PartnerState::kRevoked && !was) revoked.push_back(partner.name);
  }
  return revoked;
}

// Within the change's transaction. `revoked`: partners that it revokes.
Status CountChange(Database& database, const std::vector<std::string>& revoked) {
  Status done =
      database.Execute("INSERT INTO policy_change VALUES ('', 1) ON CONFLICT (name) DO UPDATE SET number = number + 1");
  auto note =
      database.Prepare("INSERT OR REPLACE INTO policy_change SELECT ?, number FROM policy_change WHERE name = ''");
  if (!note) return note.error();
  for (const std::string& name : revoked) {
    if (done) done = note->Bind(1, name).Run();
  }
  return done;
}

}  // namespace

Result<snapshot::Policy> Store::GetPolicy() {
  const std::lock_guard lock(mutex_);
  snapshot::Policy policy;
  auto partners = database_.Prepare("SELECT * FROM partner");
  if (!partners) return partners.error();
  auto partner_rows = Collect<Partner>(*partners, &ReadPartner);
  if (!partner_rows) return partner_rows.error();
  for (Partner& partner : *partner_rows) policy.partners.emplace(partner.name, std::move(partner));
  auto relays = database_.Prepare("SELECT * FROM relay");
  if (!relays) return relays.error();
  auto relay_rows = Collect<Relay>(*relays, [](const Statement& row) -> Result<Relay> { return ReadRelay(row); });
  if (!relay_rows) return relay_rows.error();
  for (Relay& relay : *relay_rows) policy.relays.emplace(relay.name, std::move(relay));
  return policy;
}

Status Store::ChangePolicy(const snapshot::Policy& from, const snapshot::PolicyEdit& edit) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  Status done = CheckStates(database_, from.partners);
  // Everything goes before anything comes, so that two relays can exchange their identities.
  if (done) done = Delete(database_, "relay", edit.removed_relays);
  if (done) done = Delete(database_, "relay", NamesOf(edit.put_relays));
  if (done) done = Delete(database_, "partner", edit.removed_partners);
  if (done) done = Delete(database_, "partner", NamesOf(edit.put_partners));
  if (done) done = InsertAll(database_, edit);
  if (done) done = CountChange(database_, RevokedIn(from, edit));
  return done ? transaction->Commit() : done;
}

Status Store::ChangePartnerState(const std::string& name, snapshot::PartnerState from, snapshot::PartnerState to) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  auto statement = database_.Prepare("UPDATE partner SET state = ? WHERE name = ? AND state = ?");
  if (!statement) return statement.error();
  Status done = statement->Bind(1, Whole(to)).Bind(2, name).Bind(3, Whole(from)).Run();
  if (done && database_.changes() != 1) {
    return MakeError(Reason::kStateConflict, "the partner " + name + " was changed meanwhile: look again");
  }
  const bool revoked = to == snapshot::PartnerState::kRevoked && from != to;
  if (done) done = CountChange(database_, revoked ? std::vector{name} : std::vector<std::string>());
  return done ? transaction->Commit() : done;
}

Status Store::SetRelayState(const std::string& name, snapshot::RelayState state) {
  const std::lock_guard lock(mutex_);
  auto transaction = Transaction::Begin(database_);
  if (!transaction) return transaction.error();
  auto statement = database_.Prepare("UPDATE relay SET state = ? WHERE name = ?");
  if (!statement) return statement.error();
  Status done = statement->Bind(1, Whole(state)).Bind(2, name).Run();
  if (done && database_.changes() != 1) {
    return MakeError(Reason::kNotFound, "the relay " + name + " does not exist");
  }
  if (done) done = CountChange(database_, {});
  return done ? transaction->Commit() : done;
}

Result<std::int64_t> Store::GetPolicyChange(const std::string& partner) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("SELECT number FROM policy_change WHERE name = ?");
  if (!statement) return statement.error();
  const auto row = statement->Bind(1, partner).Step();
  if (!row) return row.error();
  return *row ? statement->Integer(0) : 0;
}

}  // namespace hallmark::store
