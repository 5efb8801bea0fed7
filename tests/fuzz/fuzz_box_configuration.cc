#include <sstream>
#include <string>

#include <toml++/toml.h>

#include "check.h"
#include "firmware/provision/configuration.h"
#include "firmware/provision/names.h"

namespace {

// What the box adds is what it should be, whatever was in the strings.
void CheckToken(const hallmark::provision::Token& token) {
  const auto daemon = toml::parse(hallmark::provision::WithToken("", token, {}));
  const auto* const tokens = daemon["token"].as_array();
  Check(tokens != nullptr && tokens->size() == (token.ed25519 ? 1u : 2u), "there are the box's tokens");
  Check(tokens->front().as_table()->size() == 5, "a token has its keys");
  std::istringstream unit(hallmark::provision::UnitOf(token));
  for (std::string line; std::getline(unit, line);) {
    const std::string key = line.substr(0, line.find('='));
    Check(line.starts_with("#") || line == "[Service]" || key == "LoadCredentialEncrypted" || key == "PrivateDevices" ||
              key == "DevicePolicy" || key == "DeviceAllow" || key == "SupplementaryGroups",
          "a unit has what a token may ask for");
  }
}

}  // namespace

// A box's configuration, whose signer may be anybody at a first boot; and that any text survives being packed.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hallmark;
  using namespace hallmark::provision;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto configuration = ParsePacked(text, "box.toml");
  if (configuration) {
    Check(IsHostName(configuration->host_name), "the host has a name");
    Check(configuration->replaces.empty() || IsHostName(configuration->replaces), "so has the one before");
    Check(configuration->files.contains("hallmark.toml"), "signerd's file is there");
    for (const auto& [name, content] : configuration->files) {
      Check(IsFileName(name) && !IsOwnFile(name), "a file is where it may be");
      Check(content.find('\0') == std::string::npos, "a file is text");
    }
    CheckToken(configuration->token);
  } else {
    Check(configuration.error().reason == Reason::kConfigInvalid && !configuration.error().message.empty(),
          "a fault has a sentence");
  }
  const std::string box =
      "format = 1\nhost_name = \"a\"\ncertificate_names = [\"DNS:a\"]\nfiles = [\"hallmark.toml\", \"policy.toml\"]\n";
  const std::string file(text);
  const auto packed = Pack(box, {{"hallmark.toml", ""}, {"policy.toml", file}});
  if (!packed) return 0;
  const auto again = ParsePacked(*packed, "box.toml");
  Check(again && again->files.at("policy.toml") == file, "what is packed reads the same");
  return 0;
}
