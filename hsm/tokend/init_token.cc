#include "hsm/tokend/init_token.h"

#include <algorithm>
#include <array>

#include "firmware/runtime/secret.h"
#include "hsm/pkcs11/module.h"
#include "hsm/pkcs11/return_value.h"
#include "hsm/pkcs11/session.h"

namespace hallmark::tokend {

Result<std::string> InitToken(const InitTokenConfig& config) {
  std::array<unsigned char, 32> label;  // padded with blanks (PKCS#11, C_InitToken)
  if (config.label.empty() || config.label.size() > label.size()) {
    return MakeError(Reason::kInvalidArgument, "the label: expected 1 to 32 octets");
  }
  label.fill(' ');
  std::copy(config.label.begin(), config.label.end(), label.begin());
  const auto pin = ReadPinFile(config.pin_file);
  if (!pin) return pin.error();
  const auto so_pin = ReadPinFile(config.so_pin_file);
  if (!so_pin) return so_pin.error();

  auto module = pkcs11::Module::Load(config.module);
  if (!module) return module.error();
  const Status initialized = (*module)->Initialize();
  if (!initialized) return initialized.error();
  const auto slot = (*module)->FindEmptySlot();
  if (!slot) return slot.error();
  const ByteView so = AsBytes(so_pin->view());
  const CK_RV value = (**module)->C_InitToken(*slot, const_cast<unsigned char*>(so.data()), so.size(), label.data());
  if (!pkcs11::IsOk(value)) return pkcs11::MakeTokenError(value, "C_InitToken");
  auto session = pkcs11::Session::Open(**module, *slot, pkcs11::Access::kWrite);
  if (!session) return session.error();
  Status done = session->Login(CKU_SO, so_pin->view());
  if (done) done = session->InitializePin(pin->view());
  if (!done) return done.error();
  const auto token = (*module)->Describe(*slot);
  if (!token) return token.error();
  return token->serial;
}

}  // namespace hallmark::tokend
