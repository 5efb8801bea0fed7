#include "signerd/dns/tsig_key.h"

#include <cstring>
#include <optional>
#include <vector>

#include "firmware/runtime/encoding.h"

namespace hallmark::dns {
namespace {

constexpr std::size_t kLeastOctets = 16;  // a shorter secret can be guessed
constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kForms = ": give it in base64, as a key clause of tsig-keygen, or as ALGORITHM:NAME:SECRET";

Error Invalid(const std::string& what) { return MakeError(Reason::kConfigInvalid, what); }

// What a file says; views of its content, so that the secret is nowhere else.
struct Parts {
  std::string_view name, algorithm, secret;
};

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The words of a key clause: strings without their quotes, and each of { } ; alone. Comments are left out.
std::optional<std::vector<std::string_view>> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!(text = Trim(text)).empty()) {
    if (text.front() == '#' || text.starts_with("//")) {
      text.remove_prefix(std::min(text.find('\n'), text.size()));
    } else if (text.front() == '"') {
      const std::size_t end = text.find('"', 1);
      if (end == std::string_view::npos) return std::nullopt;
      words.push_back(text.substr(1, end - 1));
      text.remove_prefix(end + 1);
    } else {
      const std::size_t end = std::string_view("{};").find(text.front()) != std::string_view::npos
                                  ? 1
                                  : std::min(text.find_first_of(" \t\r\n{};\""), text.size());
      words.push_back(text.substr(0, end));
      text.remove_prefix(end);
    }
  }
  return words;
}

// key NAME { algorithm A; secret S; };
Result<Parts> ParseClause(std::string_view content) {
  const auto malformed =
      Invalid("a malformed key clause: it looks like key \"NAME\" { algorithm ALGORITHM; secret \"BASE64\"; };");
  const auto words = Words(content);
  if (!words || words->size() < 10 || (*words)[2] != "{") return malformed;
  Parts parts;
  parts.name = (*words)[1];
  std::size_t at = 3;
  for (; at + 2 < words->size() && (*words)[at] != "}"; at += 3) {
    const std::string_view what = (*words)[at];
    if ((what != "algorithm" && what != "secret") || (*words)[at + 2] != ";") return malformed;
    (what == "secret" ? parts.secret : parts.algorithm) = (*words)[at + 1];
  }
  const bool ends = at + 2 == words->size() && (*words)[at] == "}" && (*words)[at + 1] == ";";
  if (!ends || parts.secret.empty()) return malformed;
  return parts;
}

Result<Parts> ParseParts(std::string_view content) {
  content = Trim(content);
  if (content.starts_with("key") && content.find('{') != std::string_view::npos) return ParseClause(content);
  std::string_view line = Trim(content.substr(0, content.find('\n')));
  if (line.starts_with('#')) line = Trim(line.substr(1));
  const std::size_t first = line.find(':');
  if (first == std::string_view::npos) {
    if (line.size() != content.size()) return Invalid("more than one line" + std::string(kForms));
    return Parts{{}, {}, line};
  }
  const std::size_t second = line.find(':', first + 1);
  if (second == std::string_view::npos) return Invalid("no TSIG key" + std::string(kForms));
  return Parts{line.substr(first + 1, second - first - 1), line.substr(0, first), line.substr(second + 1)};
}

// As both sides compare it: in lower case, without the final dot.
std::string Normal(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string normal(name);
  for (char& c : normal) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return normal;
}

// What the file or the configuration says; the same where both do.
Result<std::string> Agreed(const char* what, std::string_view in_file, const std::string& configured) {
  const std::string mine = Normal(in_file), theirs = Normal(configured);
  if (mine.empty() && theirs.empty()) return Invalid(std::string("the secret has no ") + what + ": configure it");
  if (!mine.empty() && !theirs.empty() && mine != theirs) {
    return Invalid(std::string("the file has the ") + what + " \"" + mine + "\", but \"" + theirs + "\" is configured");
  }
  return mine.empty() ? theirs : mine;
}

Status CheckSecret(std::string_view secret) {
  auto octets = Base64Decode(secret);
  if (!octets) return Invalid("the secret is no base64" + std::string(kForms));
  const std::size_t size = octets->size();
  if (size > 0) ::explicit_bzero(octets->data(), size);
  if (size < kLeastOctets) return Invalid("the secret has only " + std::to_string(size) + " octets: use 16 or more");
  return Ok();
}

bool IsKeyName(const std::string& name) {
  return name.size() < 254 && name.find_first_of(std::string(" \t\r\n\"\\") + '\0') == std::string::npos;
}

}  // namespace

Result<TsigKey> ParseTsigKey(std::string_view content, const std::string& name, const std::string& algorithm) {
  const auto parts = ParseParts(content);
  if (!parts) return parts.error();
  const auto agreed_name = Agreed("name", parts->name, name);
  if (!agreed_name) return agreed_name.error();
  if (!IsKeyName(*agreed_name)) return Invalid("the name of the key is no domain name");
  const auto agreed_algorithm = Agreed("algorithm", parts->algorithm, algorithm);
  if (!agreed_algorithm) return agreed_algorithm.error();
  if (*agreed_algorithm != "hmac-sha256" && *agreed_algorithm != "hmac-sha512") {
    return Invalid("the algorithm is \"" + *agreed_algorithm + "\": use hmac-sha256 or hmac-sha512");
  }
  if (const Status good = CheckSecret(parts->secret); !good) return good.error();
  auto secret = SecretString::Create(parts->secret);
  if (!secret) return secret.error();
  return TsigKey{*agreed_name, *agreed_algorithm, std::move(*secret)};
}

Result<TsigKey> ReadTsigKey(const std::filesystem::path& file, const std::string& name, const std::string& algorithm) {
  const auto content = ReadWholeSecretFile(file);
  if (!content) return content.error();
  auto key = ParseTsigKey(content->view(), name, algorithm);
  if (!key) return MakeError(key.error().reason, file.string() + ": " + key.error().message);
  return key;
}

}  // namespace hallmark::dns
