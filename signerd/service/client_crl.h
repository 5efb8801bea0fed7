#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include "firmware/runtime/result.h"

namespace hallmark::service {

// What one or more CRLs say together.
struct RevocationLists {
  std::unordered_set<std::string> revoked;                      // by IssuerSerial()
  std::chrono::sys_seconds next_update;                         // the earliest of theirs
  std::map<std::string, std::chrono::sys_seconds> this_update;  // by issuer, as RFC 2253 writes its name
};

// Every CRL of a PEM text. Each must be whole (no delta, no critical extension), and signed by one of the certificates
// of `client_ca` (PEM), which must be its issuer. kConfigInvalid says what is wrong. Whether they have expired is the
// caller's to look at. Any thread.
Result<RevocationLists> ReadRevocationLists(std::string_view pem, std::string_view client_ca);

// The CRL file of one listener. A file that is missing, unreadable, foreign, expired, older than the lists in force or
// without one of theirs does not replace them; lists in force that expire stay in force: what they revoke is not
// forgiven because a newer list is late, or an old one was put back.
class ClientCrl {
 public:
  // `file` empty: none; then nothing is revoked by it.
  explicit ClientCrl(std::filesystem::path file) : file_(std::move(file)) {}

  struct State {
    std::shared_ptr<const RevocationLists> lists;  // in force; null: none yet
    std::string problem;                           // empty: none
  };

  // Reads the file and puts its lists in force where they are good. One thread.
  void Refresh(const std::string& client_ca, std::chrono::sys_seconds now);
  // Any thread, without waiting.
  bool Revokes(const std::string& issuer_serial) const;
  std::shared_ptr<const State> state() const { return state_.load(); }
  const std::filesystem::path& file() const { return file_; }

 private:
  void Parse(const std::string& client_ca);
  const std::filesystem::path file_;
  // Of the last reading; what has not changed is not parsed again.
  std::string pem_, client_ca_, problem_;
  std::shared_ptr<const RevocationLists> parsed_;  // null: see problem_
  std::atomic<std::shared_ptr<const State>> state_{std::make_shared<const State>()};
};

}  // namespace hallmark::service
