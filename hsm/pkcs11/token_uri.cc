#include "hsm/pkcs11/token_uri.h"

#include <p11-kit/uri.h>

#include <string_view>

namespace hallmark::pkcs11 {
namespace {

Error Invalid(const std::string& what) { return MakeError(Reason::kConfigInvalid, "the token's URI " + what); }

// RFC 7512 section 2.4 leaves the form of pin-source open, and gives file: URIs as examples.
Result<std::filesystem::path> PinFile(const char* source) {
  constexpr std::string_view kScheme = "file:";
  std::string_view file = source == nullptr ? "" : source;
  const bool scheme = file.substr(0, kScheme.size()) == kScheme;
  if (scheme) file.remove_prefix(kScheme.size());
  if (file.substr(0, 3) == "///") file.remove_prefix(2);
  if (!scheme || file.empty() || file.front() != '/' || file.substr(0, 2) == "//") {
    return Invalid("has no pin-source with \"file:\" and an absolute path");
  }
  return std::filesystem::path(file);
}

bool NamesLibrary(P11KitUri* uri) {
  const CK_INFO& info = *p11_kit_uri_get_module_info(uri);
  return info.libraryDescription[0] != 0 || info.manufacturerID[0] != 0 || info.libraryVersion.major != 0xff ||
         p11_kit_uri_get_module_name(uri) != nullptr || p11_kit_uri_get_module_path(uri) != nullptr;
}

}  // namespace

// The text is never repeated in an error: it may hold a PIN.
Result<TokenUri> TokenUri::Parse(const std::string& text) {
  Handle uri(p11_kit_uri_new(), &p11_kit_uri_free);
  if (uri == nullptr) return MakeError(Reason::kInternal, "no memory for a URI");
  const int code = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get());
  if (code != P11_KIT_URI_OK) return Invalid(std::string("cannot be parsed: ") + p11_kit_uri_message(code));
  if (p11_kit_uri_get_pin_value(uri.get()) != nullptr) {
    return Invalid("has a pin-value: put the PIN into a file and name that with pin-source=file:/path");
  }
  if (p11_kit_uri_any_unrecognized(uri.get()) != 0) return Invalid("has an attribute that is not known");
  CK_ULONG attributes = 0;
  p11_kit_uri_get_attributes(uri.get(), &attributes);
  if (attributes != 0) return Invalid("names an object: name the token only");
  if (p11_kit_uri_get_slot_id(uri.get()) != static_cast<CK_SLOT_ID>(-1)) {
    return Invalid("has a slot-id: slot numbers move, so name the token with token= or serial=");
  }
  if (NamesLibrary(uri.get())) return Invalid("names a library: the module is configured apart");
  const CK_TOKEN_INFO& wanted = *p11_kit_uri_get_token_info(uri.get());
  if (wanted.label[0] == '\0' && wanted.serialNumber[0] == '\0') return Invalid("names neither a token nor a serial");
  auto file = PinFile(p11_kit_uri_get_pin_source(uri.get()));
  if (!file) return file.error();
  return TokenUri(std::move(uri), std::move(*file), text.substr(0, text.find('?')));
}

bool TokenUri::Matches(const CK_TOKEN_INFO& token) const {
  return p11_kit_uri_match_token_info(uri_.get(), &token) == 1;
}

}  // namespace hallmark::pkcs11
