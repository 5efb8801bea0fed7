#pragma once

#include <p11-kit/pkcs11.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "hsm/pkcs11/token_uri.h"

namespace hallmark::pkcs11 {

// What it can do is known of a token that FindToken() gave only.
struct TokenInfo {
  CK_SLOT_ID slot = 0;
  std::string label, serial, manufacturer, model;
  unsigned long max_sessions = 0;  // 0: no limit is known
  bool rsa_pkcs = false;           // CKM_RSA_PKCS can sign, as far as the module says
  // The token says that it has no such mechanism. One that says nothing of it is asked.
  bool makes_no_rsa = false, makes_no_ed25519 = false;
  std::string pin_refusal;  // why no PIN must be tried now, for people; empty when one may be
};

// A PKCS#11 library, loaded by p11-kit. Initialize(), Finalize() and CloseAllSessions() must not run while any other
// thread calls the module; all else may be called from any thread.
class Module {
 public:
  static Result<std::unique_ptr<Module>> Load(const std::filesystem::path& path);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  ~Module();

  // With CKF_OS_LOCKING_OK: the module must be safe for threads.
  Status Initialize();
  void Finalize();
  // All that this process has open with the token, which logs it out.
  void CloseAllSessions(CK_SLOT_ID slot);

  // The token that the URI names, wherever it is now: slot numbers move. kNotFound when it is not there, the error of a
  // slot where it cannot be told, kConfigInvalid when the URI names several.
  Result<TokenInfo> FindToken(const TokenUri& uri) const;
  // The first slot whose token is not initialized. kNotFound.
  Result<CK_SLOT_ID> FindEmptySlot() const;
  Result<TokenInfo> Describe(CK_SLOT_ID slot) const;

  // tpm2-pkcs11 signs with the TPM's raw RSA decryption: a key that may not decrypt cannot sign there.
  bool signs_by_decrypting() const { return signs_by_decrypting_; }

  CK_FUNCTION_LIST* operator->() const { return functions_; }
  // True until Finalize() or CloseAllSessions(): handles of before mean nothing afterwards, or something else.
  std::shared_ptr<const std::atomic<bool>> alive() const { return alive_; }

 private:
  explicit Module(CK_FUNCTION_LIST* functions) : functions_(functions) {}
  Result<std::vector<CK_SLOT_ID>> SlotsWithToken() const;
  CK_FUNCTION_LIST* const functions_;
  std::shared_ptr<std::atomic<bool>> alive_;
  bool signs_by_decrypting_ = false;  // set by Initialize()
};

}  // namespace hallmark::pkcs11
