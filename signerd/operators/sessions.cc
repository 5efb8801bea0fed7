#include "signerd/operators/sessions.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "firmware/runtime/encoding.h"

namespace hallmark::operators {
namespace {

constexpr std::size_t kTokenOctets = 32;

Bytes HashOf(const std::string& token) {
  Bytes hash(SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  return hash;
}

}  // namespace

// Forgets what is over, and the oldest one of `name` when there are as many as there may be.
void Sessions::MakeRoom(const std::string& name, std::chrono::sys_seconds now) {
  std::erase_if(by_hash_, [&](const auto& entry) { return entry.second.expires <= now; });
  std::size_t count = 0;
  auto oldest = by_hash_.end();
  for (auto at = by_hash_.begin(); at != by_hash_.end(); ++at) {
    if (at->second.name != name) continue;
    ++count;
    if (oldest == by_hash_.end() || at->second.expires < oldest->second.expires) oldest = at;
  }
  if (count >= kMostEach) by_hash_.erase(oldest);
}

Result<Session> Sessions::Open(const std::string& name, const Bytes& certificate, std::chrono::sys_seconds now,
                               std::chrono::seconds length) {
  Bytes octets(kTokenOctets);
  if (RAND_bytes(octets.data(), static_cast<int>(octets.size())) != 1) {
    return MakeError(Reason::kInternal, "no random octets for a session");
  }
  Session session{HexEncode(octets), now + length};
  const std::lock_guard lock(mutex_);
  MakeRoom(name, now);
  by_hash_[HashOf(session.token)] = {name, certificate, session.expires};
  return session;
}

// The hash is looked up, not the token: how long that takes tells nothing about a token that is good.
std::optional<Sessions::Holder> Sessions::Find(const std::string& token, const Bytes& certificate,
                                               std::chrono::sys_seconds now) const {
  if (token.size() != 2 * kTokenOctets) return std::nullopt;
  const Bytes hash = HashOf(token);
  const std::lock_guard lock(mutex_);
  const auto found = by_hash_.find(hash);
  if (found == by_hash_.end() || found->second.expires <= now || found->second.certificate != certificate) {
    return std::nullopt;
  }
  return found->second;
}

void Sessions::End(const std::string& token) {
  const std::lock_guard lock(mutex_);
  by_hash_.erase(HashOf(token));
}

void Sessions::EndAll(const std::string& name) {
  const std::lock_guard lock(mutex_);
  std::erase_if(by_hash_, [&](const auto& entry) { return entry.second.name == name; });
}

}  // namespace hallmark::operators
