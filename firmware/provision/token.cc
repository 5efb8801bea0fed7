#include "firmware/provision/token.h"

#include <algorithm>

#include "firmware/provision/names.h"

namespace hallmark::provision {
namespace {

constexpr std::size_t kMostLabel = 32, kMostSerial = 16;  // CK_TOKEN_INFO
constexpr std::pair<std::string_view, TokenKind> kKinds[] = {{"softhsm", TokenKind::kSoftHsm},
                                                             {"tpm", TokenKind::kTpm},
                                                             {"smartcard", TokenKind::kSmartcard},
                                                             {"module", TokenKind::kModule}};

bool IsPlain(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool HasOnly(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

// Of the image: what can be written to on a box is no place for code.
bool IsModulePath(std::string_view path) {
  return (path.starts_with("/usr/") || path.starts_with("/opt/")) && HasOnly(path, "/._-+") &&
         path.find("//") == std::string_view::npos && path.find("/.") == std::string_view::npos;
}

// The dynamic linker's and the C library's would change what code runs.
bool IsVariable(std::string_view name) {
  return HasOnly(name, "_") && (name.front() < '0' || name.front() > '9') && !name.starts_with("LD_") &&
         name != "GLIBC_TUNABLES" && name != "PATH";
}

bool IsDevice(std::string_view name) {
  for (const std::string_view prefix : {"char-", "/dev/"}) {
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
      return HasOnly(name, "/._-") && name.find("..") == std::string_view::npos;
    }
  }
  return false;
}

void ReadName(ConfigTable& table, Token& token) {
  constexpr std::string_view kLabel = "the token's label, up to 32 octets, as pkcs11-tool --list-token-slots shows it";
  constexpr std::string_view kSerial = "the token's serial number, up to 16 octets";
  token.label = table.String("label", kLabel, "");
  token.serial = table.String("serial", kSerial, "");
  if (token.label.empty() && token.serial.empty()) table.Reject("label", "missing, and so is serial", kLabel);
  if (token.label.size() > kMostLabel || !IsPlain(token.label)) {
    table.Reject("label", "found \"" + token.label + "\"", kLabel);
  }
  if (token.serial.size() > kMostSerial || !IsPlain(token.serial)) {
    table.Reject("serial", "found \"" + token.serial + "\"", kSerial);
  }
}

void ReadModule(ConfigTable& table, Token& token) {
  constexpr std::string_view kModule =
      "the vendor's PKCS#11 library on the image, below /usr or /opt, as \"/opt/vendor/lib/module.so\"";
  constexpr std::string_view kVariables = "variables for the vendor's library";
  constexpr std::string_view kDevices = "devices as [\"char-usb_device\"] or [\"/dev/vendor0\"]";
  constexpr std::string_view kGroups = "groups of the vendor's packages, as [\"hsm\"]";
  token.module = table.String("module", kModule);
  if (!token.module.empty() && !IsModulePath(token.module)) {
    table.Reject("module", "found \"" + token.module + "\"", kModule);
  }
  token.ed25519 = table.Flag("ed25519", false);
  token.environment = table.StringMap("environment");
  for (const auto& [name, value] : token.environment) {
    if (!IsVariable(name) || !IsPlain(value)) table.Reject("environment", "found \"" + name + "\"", kVariables);
  }
  token.devices = table.OptionalStrings("devices", kDevices);
  for (const std::string& device : token.devices) {
    if (!IsDevice(device)) table.Reject("devices", "found \"" + device + "\"", kDevices);
  }
  token.groups = table.OptionalStrings("groups", kGroups);
  for (const std::string& group : token.groups) {
    if (!HasOnly(group, "_-")) table.Reject("groups", "found \"" + group + "\"", kGroups);
  }
}

// A basic string of TOML. What goes in has no control characters.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// All but what RFC 3986 calls unreserved.
std::string PercentEncoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (HasOnly({&c, 1}, "-._~")) {
      encoded += c;
    } else {
      encoded += {'%', kDigits[octet >> 4], kDigits[octet & 15]};
    }
  }
  return encoded;
}

// [[token]] of hallmark.toml, with its PIN in the credential `pin`.
std::string Table(const std::string& name, const Token& token, const std::string& pin, const TokenPlaces& places) {
  std::string variables;
  for (const auto& [key, value] : EnvironmentOf(token, places)) {
    variables += (variables.empty() ? " " : ", ") + key + " = " + Quoted(value);
  }
  return "[[token]]\nname = \"" + name + "\"\nmodule = " + Quoted(ModuleOf(token, places)) +
         "\nuri = " + Quoted(UriOf(token, "/run/credentials/hallmark-signerd.service/" + pin)) +
         "\nsessions = " + std::to_string(token.sessions) + "\nenvironment = {" + variables + " }\n";
}

}  // namespace

Token ReadToken(ConfigTable& table) {
  constexpr std::string_view kExpected = "\"softhsm\", \"tpm\", \"smartcard\" or \"module\"; see docs/tokens.md";
  Token token;
  const std::string name = table.String("kind", kExpected, "softhsm");
  const auto* const kind =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& each) { return each.first == name; });
  if (kind == std::end(kKinds)) {
    table.Reject("kind", "found \"" + name + "\"", kExpected);
  } else {
    token.kind = kind->second;
  }
  token.ed25519 = token.kind == TokenKind::kSoftHsm;
  token.sessions = table.Integer("sessions", token.kind == TokenKind::kSmartcard ? 1 : 4, 1, 256);
  if (PinIsTyped(token.kind)) ReadName(table, token);
  if (token.kind == TokenKind::kModule) ReadModule(table, token);
  return token;
}

std::string_view NameOf(TokenKind kind) {
  return std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& each) { return each.second == kind; })
      ->first;
}

bool PinIsTyped(TokenKind kind) { return kind == TokenKind::kSmartcard || kind == TokenKind::kModule; }

bool HasLedgerToken(const Token& token) { return !token.ed25519; }

Token LedgerToken() {
  Token token;
  token.label = "ledger";
  token.sessions = 1;
  return token;
}

std::string ModuleOf(const Token& token, const TokenPlaces& places) {
  switch (token.kind) {
    case TokenKind::kSoftHsm: return places.softhsm;
    case TokenKind::kTpm: return places.tpm;
    case TokenKind::kSmartcard: return places.smartcard;
    case TokenKind::kModule: break;
  }
  return token.module;
}

std::map<std::string, std::string> EnvironmentOf(const Token& token, const TokenPlaces& places) {
  if (token.kind == TokenKind::kSoftHsm) return {{"SOFTHSM2_CONF", places.softhsm_config}};
  if (token.kind == TokenKind::kTpm) {
    // TSS2_LOG: the libraries below would write a line for each refusal.
    return {{"TPM2_PKCS11_STORE", places.tpm_store}, {"TPM2_PKCS11_TCTI", places.tcti}, {"TSS2_LOG", "all+NONE"}};
  }
  return token.environment;
}

std::string UriOf(const Token& token, const std::string& pin_file) {
  std::string uri = "pkcs11:";
  if (!token.label.empty()) uri += "token=" + PercentEncoded(token.label);
  if (!token.serial.empty()) uri += (token.label.empty() ? "serial=" : ";serial=") + PercentEncoded(token.serial);
  return uri + "?pin-source=file:" + pin_file;
}

std::size_t AfterLedgerHeader(std::string_view daemon) {
  for (std::size_t at = 0; at < daemon.size();) {
    const std::size_t end = std::min(daemon.find('\n', at), daemon.size());
    std::string line;
    for (const char c : daemon.substr(at, end - at)) {
      if (c == '#') break;
      if (c != ' ' && c != '\t' && c != '\r') line += c;
    }
    at = std::min(end + 1, daemon.size());
    if (line == "[ledger]") return at;
  }
  return std::string_view::npos;
}

std::string WithToken(std::string daemon, const Token& token, const TokenPlaces& places) {
  if (!daemon.ends_with('\n')) daemon += '\n';
  const bool beside = HasLedgerToken(token);
  const std::size_t ledger = beside ? AfterLedgerHeader(daemon) : std::string::npos;
  if (ledger != std::string::npos) daemon.insert(ledger, "token = \"ledger\"  # added by the box\n");
  daemon += "\n# What follows was added by the box.\n";
  if (beside && ledger == std::string::npos) daemon += "[ledger]\ntoken = \"ledger\"\n\n";
  daemon += Table("main", token, "pin", places);
  if (!beside) return daemon;
  daemon += "\n" + Table("ledger", LedgerToken(), "ledger-pin", places);
  daemon += "\n[initial_rotation]\nalgorithms = [\"rsa2048\"]\n";
  if (token.kind == TokenKind::kSmartcard) daemon += "on_demand = true\n";
  return daemon;
}

std::string UnitOf(const Token& token) {
  std::vector<std::string> devices = token.devices, groups = token.groups;
  if (token.kind == TokenKind::kTpm) groups = {"tss"};  // whom tpm2-abrmd serves; D-Bus starts it
  std::string text;
  if (HasLedgerToken(token)) text += "LoadCredentialEncrypted=ledger-pin:/etc/hallmark/ledger-pin.cred\n";
  if (!devices.empty()) text += "PrivateDevices=no\nDevicePolicy=closed\n";
  for (const std::string& device : devices) text += "DeviceAllow=" + device + " rw\n";
  for (const std::string& group : groups) text += "SupplementaryGroups=" + group + "\n";
  return text.empty() ? "" : "# Of the box's token.\n[Service]\n" + text;
}

}  // namespace hallmark::provision
