#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"

namespace hallmark::test {

inline constexpr const char* kTokenLabel = "hallmark";
inline constexpr const char* kPin = "482915";

// A temporary directory with a SoftHSM of its own, the files with its PINs, and what the faulty module reads. A failure
// throws: the test cannot go on.
class HsmEnvironment {
 public:
  // With `token`, one is initialized by `tokend init-token`.
  explicit HsmEnvironment(bool token = true);
  ~HsmEnvironment();
  HsmEnvironment(const HsmEnvironment&) = delete;
  HsmEnvironment& operator=(const HsmEnvironment&) = delete;

  // Runs `tokend init-token`, with SoftHSM where no other module is named; gives what it prints.
  std::string InitToken(const std::string& label = kTokenLabel, const std::filesystem::path& module = "");
  // Takes every token away, as if unplugged, and puts them back.
  void HideTokens();
  void ShowTokens();

  void WritePin(const std::string& pin);
  // The rules of the faulty module; see faulty_pkcs11/README.md.
  void WriteFaults(const std::string& rules);
  // How often the faulty module was asked for `function` (C_Login or C_Initialize); "hang":
  // how many calls hang.
  std::size_t CountCalls(const std::string& function) const;

  std::filesystem::path softhsm_module() const;
  std::filesystem::path faulty_module() const;
  std::string uri() const;
  const std::filesystem::path& directory() const { return directory_; }
  // SOFTHSM2_CONF and the faulty module's variables, and those of sanitizers.
  std::vector<std::string> Variables() const;

 private:
  std::filesystem::path directory_;
};

struct Ran {
  int exit_code = -1;  // 128 + the signal's number where one ended it
  std::string output;  // standard output and standard error
};
// Runs a program to its end. `environment` is all it gets, and PATH.
Ran RunProgram(const std::vector<std::string>& command, const std::vector<std::string>& environment);

std::filesystem::path TokendProgram();

}  // namespace hallmark::test
