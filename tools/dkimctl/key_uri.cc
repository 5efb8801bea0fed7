#include "tools/dkimctl/key_uri.h"

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

namespace hallmark::ctl {
namespace {

using admin::v1::GetStatusResponse;
using admin::v1::Token;

// Padded with blanks, as PKCS#11 has it.
template <std::size_t size>
void Fill(CK_UTF8CHAR (&field)[size], const std::string& text) {
  std::memset(field, ' ', size);
  std::memcpy(field, text.data(), std::min(size, text.size()));
}

CK_TOKEN_INFO InfoOf(const Token& token) {
  CK_TOKEN_INFO info{};
  Fill(info.label, token.label());
  Fill(info.manufacturerID, token.manufacturer());
  Fill(info.model, token.model());
  Fill(info.serialNumber, token.serial());
  return info;
}

// Where one says nothing of groups it is older than they are.
std::string NameForKeys(const Token& token) { return token.group().empty() ? token.name() : token.group(); }

bool IsCalled(const Token& token, const std::string& name) {
  return !name.empty() && (token.name() == name || NameForKeys(token) == name);
}

Failure Wrong(const std::string& what) { return WrongUsage("the URI " + what); }

std::string LabelIn(const CK_TOKEN_INFO& info) {
  const std::string_view text(reinterpret_cast<const char*>(info.label), sizeof info.label);
  return std::string(text.substr(0, std::min(text.find('\0'), text.find_last_not_of(' ') + 1)));
}

}  // namespace

// The text is never repeated in an error: it may hold a PIN.
Answer<KeyUri> KeyUri::Parse(const std::string& text) {
  Handle uri(p11_kit_uri_new(), &p11_kit_uri_free);
  if (uri == nullptr) return Failed("no memory for a URI");
  const int code = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri.get());
  if (code != P11_KIT_URI_OK) return Wrong(std::string("cannot be parsed: ") + p11_kit_uri_message(code));
  if (p11_kit_uri_get_pin_value(uri.get()) != nullptr) return Wrong("has a PIN: leave it out, and change it");
  if (p11_kit_uri_any_unrecognized(uri.get()) != 0) return Wrong("has an attribute that is not known");
  if (p11_kit_uri_get_slot_id(uri.get()) != static_cast<CK_SLOT_ID>(-1)) {
    return Wrong("has a slot-id: slot numbers move, so name the token with token= or serial=");
  }
  const CK_ATTRIBUTE* const type = p11_kit_uri_get_attribute(uri.get(), CKA_CLASS);
  CK_OBJECT_CLASS kind = CKO_PRIVATE_KEY;
  if (type != nullptr) std::memcpy(&kind, type->pValue, std::min<std::size_t>(sizeof kind, type->ulValueLen));
  if (kind != CKO_PRIVATE_KEY && kind != CKO_PUBLIC_KEY) return Wrong("is none of a key pair: expected type=private");
  const CK_ATTRIBUTE* const id = p11_kit_uri_get_attribute(uri.get(), CKA_ID);
  if (id == nullptr || id->ulValueLen == 0) return Wrong("has no id: expected the pair's CKA_ID, as in id=%0a%1b");
  return KeyUri(std::move(uri));
}

Answer<KeyPlace> KeyUri::Find(const std::string& token, const GetStatusResponse& status) const {
  const CK_ATTRIBUTE* const id = p11_kit_uri_get_attribute(uri_.get(), CKA_ID);
  KeyPlace place{token, {static_cast<const char*>(id->pValue), id->ulValueLen}};
  const CK_TOKEN_INFO& wanted = *p11_kit_uri_get_token_info(uri_.get());
  const bool only_label = wanted.serialNumber[0] == 0 && wanted.manufacturerID[0] == 0 && wanted.model[0] == 0;
  if (only_label && wanted.label[0] == 0) return place;  // names no token
  const auto find = [&](auto fits) {
    std::set<std::string> names;
    for (const Token& known : status.tokens()) {
      if ((token.empty() || IsCalled(known, token)) && fits(known)) names.insert(NameForKeys(known));
    }
    return names;
  };
  std::set<std::string> names = find([&](const Token& known) {
    const CK_TOKEN_INFO info = InfoOf(known);
    return !known.serial().empty() && p11_kit_uri_match_token_info(uri_.get(), &info) == 1;
  });
  if (names.empty() && only_label) names = find([&](const Token& known) { return IsCalled(known, LabelIn(wanted)); });
  if (names.empty()) {
    return Failed(token.empty() ? "no token of signerd is the one that the URI names: dkimctl status lists them"
                                : "the token " + token + " is not the one that the URI names");
  }
  if (names.size() > 1) return Failed("several tokens are as the URI says: name one with --token, or by serial=");
  place.token = *names.begin();
  return place;
}

std::vector<std::string> UrisOf(const admin::v1::Key& key, const GetStatusResponse& status) {
  std::vector<std::string> uris;
  const auto& missing = key.missing_tokens();
  for (const Token& token : status.tokens()) {
    const bool has =
        IsCalled(token, key.token()) && std::find(missing.begin(), missing.end(), token.name()) == missing.end();
    if (!has || token.label().empty()) continue;
    const auto same = std::count_if(status.tokens().begin(), status.tokens().end(),
                                    [&](const Token& other) { return other.label() == token.label(); });
    const std::unique_ptr<P11KitUri, decltype(&p11_kit_uri_free)> uri(p11_kit_uri_new(), &p11_kit_uri_free);
    if (uri == nullptr) continue;
    CK_TOKEN_INFO& info = *p11_kit_uri_get_token_info(uri.get());
    Fill(info.label, token.label());
    if (same > 1) Fill(info.serialNumber, token.serial());
    CK_ATTRIBUTE id{CKA_ID, const_cast<char*>(key.cka_id().data()), key.cka_id().size()};
    char* formatted = nullptr;
    if (p11_kit_uri_set_attribute(uri.get(), &id) != P11_KIT_URI_OK ||
        p11_kit_uri_format(uri.get(), P11_KIT_URI_FOR_OBJECT_ON_TOKEN, &formatted) != P11_KIT_URI_OK) {
      continue;
    }
    const std::unique_ptr<char, decltype(&std::free)> freed(formatted, &std::free);
    uris.emplace_back(formatted);
  }
  return uris;
}

}  // namespace hallmark::ctl
