#pragma once

#include <filesystem>

#include "firmware/provision/configuration.h"
#include "firmware/runtime/result.h"
#include "firmware/runtime/secret.h"

// The box's tokens and their PINs. A PIN is in a file in memory while a program reads it, and sealed; nowhere else.
namespace hallmark::provision {

struct Places;

inline constexpr const char* kRecovery = "box/recovery.cms";

// Makes the token that `configuration` wants in `state`, with random PINs, or takes the PIN that a person typed for one
// that is there; beside it one in software for the ledger, where that is needed. Seals the PINs into `config`; where
// that has recipients.pem, kRecovery is made there, and otherwise ForgetRecovery is called. `pin` is needed where
// PinIsTyped.
Status MakeToken(const Configuration& configuration, const std::filesystem::path& state,
                 const std::filesystem::path& config, const Places& places, const SecretString* pin);

// Takes the state's recovery key away, where a set-up that was cut off made one.
Status ForgetRecovery(const Places& places);

// Whether the token of `configuration` that a person brought is there and takes the PIN; tries it once. kPinRejected
// where it does not, or where one more wrong PIN would lock it; kTokenDown where there is no such token, or its library
// does not work or does not answer.
Status CheckPin(const Configuration& configuration, const SecretString& pin, const Places& places);

// Whether what `token` names beside `before` is on this box now: the module, its devices and groups. kNotFound names
// what is not. A later configuration is not tried: signerd's unit would not start with a group that nobody knows, until
// there is a higher revision.
Status CheckModuleIsThere(const Token& token, const Token& before);

}  // namespace hallmark::provision
