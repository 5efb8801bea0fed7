#include "tools/relay-client/pem_files.h"

#include <openssl/crypto.h>

#include "firmware/runtime/certificate.h"
#include "firmware/runtime/file.h"

namespace hallmark::relay {
namespace {

constexpr std::size_t kMaxPem = 1u << 20;

std::int64_t Nanoseconds(const timespec& time) { return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_nsec; }

Status ReadInto(const std::string& path, std::string& content) {
  auto read = ReadFile(path, kMaxPem);
  if (!read) return read.error();
  content = std::move(*read);
  return Ok();
}

}  // namespace

Pem::~Pem() { OPENSSL_cleanse(private_key.data(), private_key.size()); }

PemFiles::PemFiles(const Settings& settings)
    : ca_(settings.ca), certificate_(settings.certificate), private_key_(settings.private_key) {}

PemFiles::Stamp PemFiles::StampOf(const std::string& path) {
  struct stat entry {};
  if (::stat(path.c_str(), &entry) != 0) return {};
  return {entry.st_dev, entry.st_ino, entry.st_size, Nanoseconds(entry.st_mtim), Nanoseconds(entry.st_ctim)};
}

PemFiles::Stamps PemFiles::Look() const { return {StampOf(ca_), StampOf(certificate_), StampOf(private_key_)}; }

bool PemFiles::Changed() const { return Look() != read_; }

Result<Pem> PemFiles::Read() {
  const Stamps before = Look();
  Pem pem;
  Status failed = Ok();
  for (const Status& status :
       {CheckClientCa(ca_), CheckCertificate(certificate_), CheckPrivateKey(private_key_, certificate_),
        ReadInto(ca_, pem.ca), ReadInto(certificate_, pem.certificate), ReadInto(private_key_, pem.private_key)}) {
    if (!status) {
      failed = status;
      break;
    }
  }
  // What does not fit together now may in a moment.
  if (Look() != before) return MakeError(Reason::kStateConflict, "the certificates' files are just being replaced");
  if (!failed) return failed.error();
  read_ = before;
  return pem;
}

}  // namespace hallmark::relay
