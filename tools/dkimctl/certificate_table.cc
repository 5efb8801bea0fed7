#include "tools/dkimctl/certificate_table.h"

#include <chrono>

#include "tools/dkimctl/failure.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/table.h"

namespace hallmark::ctl {
namespace {

constexpr std::chrono::days kSoon{30};

std::string Note(const admin::v1::Certificate& certificate) {
  const std::chrono::sys_seconds expires{std::chrono::seconds(certificate.expire_time().seconds())};
  // In seconds: a certificate may be good for longer than nanoseconds of 64 bits reach.
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  if (certificate.revoked()) return "revoked";
  if (expires < now) return "EXPIRED";
  return expires < now + kSoon ? "renew" : "";
}

std::string Lines(const std::string& text) {
  std::string lines;
  for (const std::string& line : Wrap(OneLine(text), Table::kColumns)) lines += line + "\n";
  return lines;
}

}  // namespace

std::string CertificateTable(const admin::v1::ListCertificatesResponse& answer, bool all) {
  Table table({"EXPIRES", "CERTIFICATE", "NOTE", "FINGERPRINT (SHA-256)"});
  for (const auto& certificate : answer.certificates()) {
    const std::string note = Note(certificate);
    if (!all && (note.empty() || certificate.revoked())) continue;
    table.Add({TimeText(certificate.expire_time()), certificate.name(), note, certificate.fingerprint()});
  }
  std::string text = table.Render();
  for (const auto& files : answer.files()) {
    if (!files.problem().empty()) text += Lines(files.listener() + ": " + files.problem());
    if (!files.crl_problem().empty()) text += Lines(files.listener() + ": " + files.crl_problem());
    if (all && files.has_crl()) {
      text += Lines(files.listener() + ": CRL with " + std::to_string(files.crl_entries()) + " entries, next update " +
                    TimeText(files.crl_next_update()));
    }
  }
  return text;
}

}  // namespace hallmark::ctl
