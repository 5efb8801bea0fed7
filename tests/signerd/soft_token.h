#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "sample.h"
#include "signerd/tokens/token_config.h"

namespace hallmark::test {

// A SoftHSM token, initialized by the program `tokend`, in a folder of its own. Also for SoftHSM in this process.
class SoftToken {
 public:
  explicit SoftToken(const std::filesystem::path& tokend) {
    const std::filesystem::path& folder = folder_.path();
    std::filesystem::create_directory(folder / "tokens");
    std::ofstream(folder / "softhsm2.conf") << "directories.tokendir = " << (folder / "tokens").string() << "\n";
    for (const char* name : {"pin", "so-pin"}) {
      std::ofstream(folder / name) << kPin << "\n";
      using std::filesystem::perms;
      std::filesystem::permissions(folder / name, perms::owner_read | perms::owner_write);
    }
    ::setenv("SOFTHSM2_CONF", (folder / "softhsm2.conf").c_str(), 1);
    const std::string command = tokend.string() + " init-token --module " + kModule +
                                " --token-label test --pin-source " + (folder / "pin").string() + " --so-pin-source " +
                                (folder / "so-pin").string() + " >/dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("cannot initialize a SoftHSM token");
  }

  tokens::TokenConfig Config(const std::string& name, unsigned sessions = 4) const {
    tokens::TokenConfig config;
    config.name = name;
    config.module = kModule;
    config.pin_file = folder_.path() / "pin";
    config.uri = "pkcs11:token=test?pin-source=file:" + config.pin_file.string();
    config.sessions = sessions;
    config.environment["SOFTHSM2_CONF"] = (folder_.path() / "softhsm2.conf").string();
    return config;
  }

  static constexpr const char* kModule = "/usr/lib/softhsm/libsofthsm2.so";
  static constexpr const char* kPin = "123456";

 private:
  TemporaryFolder folder_;
};

}  // namespace hallmark::test
