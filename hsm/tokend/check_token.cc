#include "hsm/tokend/check_token.h"

#include "firmware/runtime/secret.h"
#include "hsm/pkcs11/session.h"
#include "hsm/pkcs11/token_uri.h"

namespace hallmark::tokend {

Result<pkcs11::TokenInfo> CheckToken(const std::filesystem::path& module, const std::string& uri) {
  const auto wanted = pkcs11::TokenUri::Parse(uri);
  if (!wanted) return wanted.error();
  const auto pin = ReadPinFile(wanted->pin_file());
  if (!pin) return pin.error();
  const auto loaded = pkcs11::Module::Load(module);
  if (!loaded) return loaded.error();
  if (const Status initialized = (*loaded)->Initialize(); !initialized) return initialized.error();
  auto token = (*loaded)->FindToken(*wanted);
  if (!token) return token;
  if (!token->pin_refusal.empty()) return MakeError(Reason::kPinRejected, token->pin_refusal);
  auto session = pkcs11::Session::Open(**loaded, token->slot, pkcs11::Access::kRead);
  if (!session) return session.error();
  if (const Status login = session->Login(CKU_USER, pin->view()); !login) return login.error();
  return token;
}

}  // namespace hallmark::tokend
