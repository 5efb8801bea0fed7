#include <algorithm>
#include <map>
#include <optional>

#include "firmware/runtime/encoding.h"
#include "signerd/config_tables.h"
#include "signerd/tokens/token_group.h"

// The tokens that keys are in.
namespace hallmark {
namespace {

constexpr std::size_t kLongestName = 56;
constexpr std::string_view kTokenName = "a name for the token: at most 56 characters, all of them printable ASCII";
constexpr std::string_view kTokenUri =
    "a PKCS#11 URI with a token and a PIN file, for example "
    "\"pkcs11:token=hallmark?pin-source=file:/etc/hallmark/pin\"";

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    const auto octet = HexDecode(text.substr(i + 1, 2));
    if (!octet || octet->size() != 1) return std::nullopt;
    decoded.push_back(static_cast<char>(octet->front()));
    i += 2;
  }
  return decoded;
}

// RFC 7512: path attributes are separated by ';', query attributes by '&'. The file that holds the PIN; tokend checks
// the rest of the URI with p11-kit.
Result<std::filesystem::path> PinFileOf(const std::string& uri) {
  const auto invalid = [](const std::string& what) { return MakeError(Reason::kConfigInvalid, what); };
  if (!uri.starts_with("pkcs11:")) return invalid("does not begin with \"pkcs11:\"");
  const std::size_t question = uri.find('?');
  const std::string_view path =
      std::string_view(uri).substr(7, question == std::string::npos ? question : question - 7);
  if (!PercentDecode(path)) return invalid("has a broken % escape");
  if (path.find("token=") == std::string_view::npos && path.find("serial=") == std::string_view::npos) {
    return invalid("names no token");
  }
  std::string_view query = question == std::string::npos ? "" : std::string_view(uri).substr(question + 1);
  std::optional<std::filesystem::path> file;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view attribute = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (attribute.starts_with("pin-value")) return invalid("pin-value would put the PIN into a configuration file");
    if (!attribute.starts_with("pin-source=")) continue;
    const auto source = PercentDecode(attribute.substr(11));
    if (!source) return invalid("pin-source has a broken % escape");
    std::string_view name = *source;
    if (!name.starts_with("file:/")) return invalid("pin-source is not \"file:\" and an absolute path");
    name.remove_prefix(5);
    if (name.starts_with("//")) name.remove_prefix(2);
    file = name;
  }
  if (!file) return invalid("has no pin-source");
  return *file;
}

// It has to stand whole in the name of the reading of its test signatures (health::MakeReading), by which the token
// counts as one that signs or not.
void CheckName(ConfigTable& table, const std::string& name) {
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable || name.size() > kLongestName) table.Reject("name", "found \"" + name + "\"", kTokenName);
}

tokens::TokenConfig ReadToken(ConfigTable& table, const std::filesystem::path& folder) {
  tokens::TokenConfig token;
  token.name = table.String("name", kTokenName);
  CheckName(table, token.name);
  token.group = table.String("group", "a name that tokens with the same keys share", "");
  token.module = table.ReadableFile("module", "the PKCS#11 library of the token");
  token.uri = table.String("uri", kTokenUri);
  if (!token.uri.empty()) {
    const auto pin_file = PinFileOf(token.uri);
    if (pin_file) {
      token.pin_file = *pin_file;
    } else {
      table.Reject("uri", pin_file.error().message, kTokenUri);
    }
  }
  token.sessions = static_cast<unsigned>(table.Integer("sessions", 4, 1, 256));
  token.sign_timeout = std::chrono::milliseconds(table.Integer("sign_timeout_ms", 5000, 100, 600'000));
  token.environment = table.StringMap("environment");
  for (auto& [name, value] : token.environment) {
    std::error_code ignored;
    const std::filesystem::path path = folder / value;
    if (!value.empty() && std::filesystem::exists(path, ignored)) value = path.string();
  }
  return token;
}

// Keys name a group as they name a token alone: one name must not mean two things.
void CheckGroups(std::vector<ConfigTable>& tables, const std::vector<tokens::TokenConfig>& tokens) {
  std::map<std::string, std::size_t> members;
  for (const tokens::TokenConfig& token : tokens) ++members[token.group_name()];
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& group = tokens[i].group;
    const bool taken = std::any_of(tokens.begin(), tokens.end(), [&](const auto& token) {
      return token.name == group && (members[group] > 1 || token.group_name() != group);
    });
    if (!group.empty() && taken) {
      tables[i].Reject("group", "\"" + group + "\" is the name of a token", "a name that no token has");
    }
    if (members[tokens[i].group_name()] > tokens::TokenGroup::kMostMembers) {
      tables[i].Reject("group", "it has too many tokens",
                       "at most " + std::to_string(tokens::TokenGroup::kMostMembers) + " in a group");
    }
  }
}

}  // namespace

void ReadTokens(ConfigTable& root, const std::filesystem::path& folder, SignerdConfig& config) {
  std::vector<ConfigTable> tables = root.Tables("token");
  for (ConfigTable& table : tables) config.tokens.push_back(ReadToken(table, folder));
  RejectRepeated(tables, config.tokens, "name", [](const auto& token) -> const std::string& { return token.name; });
  CheckGroups(tables, config.tokens);
}

}  // namespace hallmark
