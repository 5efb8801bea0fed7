#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "signerd/tokens/token_config.h"

namespace hallmark::bench {

// A SoftHSM token in a folder of its own, removed with it.
class SoftToken {
 public:
  explicit SoftToken(const std::filesystem::path& tokend) {
    std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
    folder_ = pattern;
    std::filesystem::create_directory(folder_ / "tokens");
    std::ofstream(folder_ / "softhsm2.conf") << "directories.tokendir = " << (folder_ / "tokens").string() << "\n";
    for (const char* name : {"pin", "so-pin"}) {
      std::ofstream(folder_ / name) << "123456\n";
      using std::filesystem::perms;
      std::filesystem::permissions(folder_ / name, perms::owner_read | perms::owner_write);
    }
    ::setenv("SOFTHSM2_CONF", (folder_ / "softhsm2.conf").c_str(), 1);
    const std::string command = tokend.string() + " init-token --module " + kModule +
                                " --token-label bench --pin-source " + PinFile().string() + " --so-pin-source " +
                                (folder_ / "so-pin").string() + " >/dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("cannot initialize a SoftHSM token");
  }
  SoftToken(const SoftToken&) = delete;
  SoftToken& operator=(const SoftToken&) = delete;
  ~SoftToken() { std::filesystem::remove_all(folder_); }

  std::filesystem::path PinFile() const { return folder_ / "pin"; }
  tokens::TokenConfig Config(unsigned sessions) const {
    tokens::TokenConfig config;
    config.name = "softhsm";
    config.module = kModule;
    config.pin_file = PinFile();
    config.uri = "pkcs11:token=bench?pin-source=file:" + config.pin_file.string();
    config.sessions = sessions;
    config.environment["SOFTHSM2_CONF"] = (folder_ / "softhsm2.conf").string();
    return config;
  }

  static constexpr const char* kModule = "/usr/lib/softhsm/libsofthsm2.so";

 private:
  std::filesystem::path folder_;
};

}  // namespace hallmark::bench
