#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "firmware/runtime/config.h"

// Which token a box has: the table [token] of box.toml, and what becomes of it. docs/tokens.md says what each is.
namespace hallmark::provision {

enum class TokenKind : std::uint8_t {
  kSoftHsm,    // the box makes one in software
  kTpm,        // the box makes one in its TPM
  kSmartcard,  // a person brings it, by OpenSC
  kModule,     // the same, by the vendor's library, which firmware/build --add put onto the image
};

struct Token {
  TokenKind kind = TokenKind::kSoftHsm;
  std::int64_t sessions = 4;
  bool ed25519 = true;                             // it makes such keys
  std::string label = "hallmark", serial;          // one at least
  std::string module;                              // of kModule only, and what follows
  std::map<std::string, std::string> environment;  // of the library
  std::vector<std::string> devices;                // for DeviceAllow= of systemd.resource-control(5)
  std::vector<std::string> groups;                 // that the devices belong to
};

// Where the libraries are, and the state of those that have one.
struct TokenPlaces {
  std::string softhsm = "/usr/lib/softhsm/libsofthsm2.so";
  std::string tpm = "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1";
  std::string smartcard = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so";
  std::string softhsm_config = "/etc/hallmark/softhsm2.conf";
  std::string tpm_store = "/var/lib/hallmark/tpm2";
  std::string tcti = "tabrmd:";  // the way to the TPM: tpm2-abrmd has room for more keys than the kernel
};

// Faults are reported to the table.
Token ReadToken(ConfigTable& table);

// "softhsm", as box.toml has it.
std::string_view NameOf(TokenKind kind);
// Whether its PIN is a person's, who types it at the console; the box makes the others'.
bool PinIsTyped(TokenKind kind);
// Whether the ledger's Ed25519 key has a token of its own, in software: LedgerToken().
bool HasLedgerToken(const Token& token);
Token LedgerToken();

std::string ModuleOf(const Token& token, const TokenPlaces& places);
std::map<std::string, std::string> EnvironmentOf(const Token& token, const TokenPlaces& places);
// RFC 7512, with the file of its PIN.
std::string UriOf(const Token& token, const std::string& pin_file);

// `daemon`, a hallmark.toml without [[token]], with the box's tokens and what follows from them. It has no table
// "ledger" but under a header of its own; the token of the ledger is put there.
std::string WithToken(std::string daemon, const Token& token, const TokenPlaces& places);

// What signerd's unit gets beside what the image has: credentials and devices. Empty for a token in software. The trial
// of a module is given the same devices and groups: CheckPin.
std::string UnitOf(const Token& token);

// Where "[ledger]" begins in a hallmark.toml: the offset of the line after it; npos where it does not.
std::size_t AfterLedgerHeader(std::string_view daemon);

}  // namespace hallmark::provision
