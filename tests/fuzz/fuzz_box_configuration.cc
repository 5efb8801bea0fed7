#include <string>

#include "check.h"
#include "firmware/provision/configuration.h"
#include "firmware/provision/names.h"

// A box's configuration, whose signer may be anybody at a first boot; and that any text survives being packed.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hallmark;
  using namespace hallmark::provision;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto configuration = ParsePacked(text, "box.toml");
  if (configuration) {
    Check(IsHostName(configuration->host_name), "the host has a name");
    Check(configuration->files.contains("hallmark.toml"), "signerd's file is there");
    for (const auto& [name, content] : configuration->files) {
      Check(IsFileName(name) && !IsOwnFile(name), "a file is where it may be");
      Check(content.find('\0') == std::string::npos, "a file is text");
    }
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
