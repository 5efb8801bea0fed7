#include "hsm/pkcs11/token_uri.h"

#include <p11-kit/uri.h>

namespace hallmark::pkcs11 {
namespace {

Error Invalid(const std::string& what) { return MakeError(Reason::kConfigInvalid, "the token's URI " + what); }

}  // namespace

Result<TokenUri> TokenUri::Parse(const std::string& text) {
  Handle uri(p11_kit_uri_new(), &p11_kit_uri_free);
  if (uri == nullptr) return MakeError(Reason::kInternal, "no memory for a URI");
  const int code = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_TOKEN, uri.get());
  // Said before anything that would quote the URI.
  if (text.find("pin-value") != std::string::npos) return Invalid("has a pin-value: name a file with pin-source instead");
  if (code != P11_KIT_URI_OK) return Invalid(std::string("cannot be parsed: ") + p11_kit_uri_message(code));
  CK_TOKEN_INFO* wanted = p11_kit_uri_get_token_info(uri.get());
  if (wanted->label[0] == '\0' && wanted->serialNumber[0] == '\0') return Invalid("names neither a token nor a serial");
  const char* source = p11_kit_uri_get_pin_source(uri.get());
  std::string file = source == nullptr ? "" : source;
  if (!file.starts_with("file:/")) return Invalid("has no pin-source with \"file:\" and an absolute path");
  file.erase(0, 5);
  if (file.starts_with("//")) file.erase(0, 2);
  return TokenUri(std::move(uri), file, text.substr(0, text.find('?')));
}

bool TokenUri::Matches(CK_TOKEN_INFO& token) const { return p11_kit_uri_match_token_info(uri_.get(), &token) == 1; }

}  // namespace hallmark::pkcs11
