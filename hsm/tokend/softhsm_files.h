#pragma once

#include <filesystem>
#include <string_view>

#include "firmware/runtime/result.h"

namespace hallmark::tokend {

// SoftHSM 2.6 keeps a token as files. It writes token.object anew in place at each login: a process that ends in the
// middle of it, or a machine that does, leaves an empty one, and the token with all its keys is gone. And it syncs
// nothing. This keeps a copy of each token.object beside it, puts the copy in place of a broken one, and syncs.
class SoftHsmFiles {
 public:
  // The folder of tokens as SoftHSM finds it, by SOFTHSM2_CONF. For another module, or another way to store, there is
  // none, and the calls do nothing.
  explicit SoftHsmFiles(const std::filesystem::path& module);

  // Only while the module is not initialized in this process. kIoFailed: a file can't be read, copied or put in place.
  Status Mend() const;
  // What was made or destroyed in the token since then is so after a power cut too. Any thread.
  Status Sync(std::filesystem::file_time_type since) const;

  // Whether `object` is a whole file of attributes: a number of 8 octets, then each attribute's type, kind and value.
  static bool IsWhole(std::string_view object);

 private:
  std::filesystem::path folder_;  // empty: none
};

}  // namespace hallmark::tokend
