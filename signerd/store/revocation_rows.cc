#include "signerd/store/rows.h"
#include "signerd/store/store.h"

namespace hallmark::store {

Status Store::InsertRevokedCertificate(const RevokedCertificate& certificate) {
  const std::lock_guard lock(mutex_);
  auto statement =
      database_.Prepare("INSERT INTO revoked_certificate (fingerprint, reason, revoked_by, time) VALUES (?, ?, ?, ?)");
  if (!statement) return statement.error();
  const Status done = statement->Bind(1, certificate.fingerprint)
                          .Bind(2, certificate.reason)
                          .Bind(3, certificate.revoked_by)
                          .Bind(4, WriteTime(certificate.time))
                          .Run();
  if (!done && done.error().reason == Reason::kAlreadyExists) {
    return MakeError(Reason::kAlreadyExists, "the certificate " + certificate.fingerprint + " is revoked already");
  }
  return done;
}

Status Store::DeleteRevokedCertificate(const std::string& fingerprint) {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare("DELETE FROM revoked_certificate WHERE fingerprint = ?");
  if (!statement) return statement.error();
  const Status done = statement->Bind(1, fingerprint).Run();
  if (!done || database_.changes() == 1) return done;
  return MakeError(Reason::kNotFound, "the certificate " + fingerprint + " is not revoked by fingerprint");
}

Result<std::vector<RevokedCertificate>> Store::ListRevokedCertificates() {
  const std::lock_guard lock(mutex_);
  auto statement = database_.Prepare(
      "SELECT fingerprint, reason, revoked_by, time FROM revoked_certificate ORDER BY time DESC, fingerprint");
  if (!statement) return statement.error();
  return Collect<RevokedCertificate>(*statement, [](const Statement& row) -> Result<RevokedCertificate> {
    return RevokedCertificate{row.Text(0), row.Text(1), row.Text(2), ReadTime(row, 3)};
  });
}

}  // namespace hallmark::store
