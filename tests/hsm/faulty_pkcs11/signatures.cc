#include "signatures.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>

namespace faulty {
namespace {

constexpr std::string_view kMagic = "hallmark simulated token 1\n";
// A record: its body's size, the body's checksum, and the body, which is the entry's size, the entry, the signature.
constexpr std::size_t kHeader = sizeof(std::uint32_t) + sizeof(std::uint64_t);

template <class T>
void Put(std::string& out, T number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

template <class T>
T Take(std::string_view& from) {
  T number;
  std::memcpy(&number, from.data(), sizeof number);
  from.remove_prefix(sizeof number);
  return number;
}

// FNV-1a: against torn records, not against anybody's will.
std::uint64_t Checksum(std::string_view body) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const char octet : body) sum = (sum ^ static_cast<unsigned char>(octet)) * 0x100000001b3;
  return sum;
}

std::optional<std::string> ReadAll(int descriptor) {
  std::string all;
  char buffer[65536];
  ssize_t count = 0;
  while ((count = ::read(descriptor, buffer, sizeof buffer)) > 0) all.append(buffer, static_cast<std::size_t>(count));
  return count < 0 ? std::nullopt : std::optional(std::move(all));
}

bool Write(int descriptor, std::string_view octets) {
  return ::write(descriptor, octets.data(), octets.size()) == static_cast<ssize_t>(octets.size());
}

// Gives each whole record at the start of `rest` to the table; returns what is left.
std::string_view Load(std::string_view rest, SignatureTable& table) {
  while (rest.size() >= kHeader) {
    std::string_view at = rest;
    const auto size = Take<std::uint32_t>(at);
    const auto sum = Take<std::uint64_t>(at);
    if (size < sizeof(std::uint32_t) || size > at.size() || Checksum(at.substr(0, size)) != sum) break;
    std::string_view body = at.substr(0, size);
    const auto entry = Take<std::uint32_t>(body);
    if (entry > body.size()) break;
    table.Add(std::string(body.substr(0, entry)), std::string(body.substr(entry)));
    rest.remove_prefix(kHeader + size);
  }
  return rest;
}

// On a file that nobody else is writing to. False: it is no file of ours, or cannot be read or cut.
bool LoadFile(int descriptor, SignatureTable& table) {
  const auto all = ReadAll(descriptor);
  if (!all) return false;
  std::string_view rest = *all;
  if (rest.empty()) return Write(descriptor, kMagic);
  if (rest.substr(0, kMagic.size()) != kMagic) {
    errno = EINVAL;
    return false;
  }
  rest = Load(rest.substr(kMagic.size()), table);
  return rest.empty() || ::ftruncate(descriptor, static_cast<off_t>(all->size() - rest.size())) == 0;
}

}  // namespace

bool SignatureTable::Find(const std::string& entry, std::string& signature) const {
  const Shard& shard = shards_[ShardOf(entry)];
  const std::shared_lock lock(shard.mutex);
  const auto found = shard.signatures.find(entry);
  if (found == shard.signatures.end()) return false;
  signature = found->second;
  return true;
}

void SignatureTable::Add(const std::string& entry, const std::string& signature) {
  Shard& shard = shards_[ShardOf(entry)];
  const std::unique_lock lock(shard.mutex);
  shard.signatures[entry] = signature;
}

void SignatureTable::Clear() {
  for (Shard& shard : shards_) {
    const std::unique_lock lock(shard.mutex);
    shard.signatures.clear();
  }
}

bool SignatureFile::Open(const std::string& path, SignatureTable& table) {
  Close();
  const std::lock_guard lock(mutex_);
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  bool good = descriptor >= 0 && ::flock(descriptor, LOCK_EX) == 0;
  good = good && LoadFile(descriptor, table);
  if (!good) std::fprintf(stderr, "faulty_pkcs11: %s: %s\n", path.c_str(), std::strerror(errno));
  if (descriptor >= 0) ::flock(descriptor, LOCK_UN);
  if (descriptor >= 0 && !good) ::close(descriptor);
  descriptor_ = good ? descriptor : -1;
  return good;
}

void SignatureFile::Append(const std::string& entry, const std::string& signature) {
  std::string body, record;
  Put(body, static_cast<std::uint32_t>(entry.size()));
  body += entry + signature;
  Put(record, static_cast<std::uint32_t>(body.size()));
  Put(record, Checksum(body));
  record += body;
  const std::lock_guard lock(mutex_);
  if (descriptor_ < 0) return;
  // Another process may be cutting off a torn record just now.
  ::flock(descriptor_, LOCK_EX);
  const bool written = Write(descriptor_, record);
  ::flock(descriptor_, LOCK_UN);
  if (written) return;
  std::fprintf(stderr, "faulty_pkcs11: no more signatures are kept: %s\n", std::strerror(errno));
  ::close(descriptor_);
  descriptor_ = -1;
}

void SignatureFile::Close() {
  const std::lock_guard lock(mutex_);
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

}  // namespace faulty
