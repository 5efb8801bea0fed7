#pragma once

#include <sys/stat.h>

#include <array>
#include <string>

#include "firmware/runtime/result.h"
#include "tools/relay-client/relay_client.h"

namespace hallmark::relay {

// What mutual TLS needs, as PEM. Wipes the private key when it goes.
struct Pem {
  Pem() = default;
  Pem(Pem&&) = default;
  Pem& operator=(Pem&&) = default;
  ~Pem();
  std::string ca, certificate, private_key;
};

// The three files of Settings, read whenever they change. Not thread-safe.
class PemFiles {
 public:
  explicit PemFiles(const Settings& settings);

  // Whether a file is another than at the last Read() that succeeded.
  bool Changed() const;
  // The files' content, which fits together. kConfigInvalid that says which file is wrong, and how; kStateConflict when
  // they changed meanwhile.
  Result<Pem> Read();

 private:
  // What tells one state of a file from another.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0, changed_ns = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  using Stamps = std::array<Stamp, 3>;
  static Stamp StampOf(const std::string& path);
  Stamps Look() const;
  const std::string ca_, certificate_, private_key_;
  Stamps read_{};
};

}  // namespace hallmark::relay
