#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "firmware/runtime/result.h"
#include "signerd/dkim/types.h"
#include "tools/migration/secret_octets.h"

// What another signer's configuration comes to in Hallmark. Pure: files are read through functions that are given.
namespace hallmark::migration {

// Where something was read.
struct Place {
  std::string file;
  unsigned line = 0;  // 0: the file as a whole

  std::string Text() const { return line == 0 ? file : file + ":" + std::to_string(line); }
};

// What a person has to know of the move.
struct Note {
  enum class Kind {
    kLost,     // was there, and has no counterpart
    kDiffers,  // will be otherwise
    kRead,     // a file that was read because another one names it
  };
  Kind kind;
  Place place;
  std::string text;
};
using Notes = std::vector<Note>;

struct KeySource {
  std::string path;      // of the key's file; empty: the key stands in the configuration
  SecretOctets content;  // then this
};

// For which authors the other signer signs.
struct Authors {
  enum class Kind { kDomain, kBelow, kAll, kAddress };
  Kind kind = Kind::kDomain;
  std::string name;  // lower case: the domain, the domain above, or the address
};

// One line of the other signer's tables: mail of these authors gets this signature.
struct SigningRule {
  Authors authors;
  std::string domain, selector;  // d=, s=
  KeySource key;
  Place place;
};

struct PlannedKey {
  std::string domain, selector;
  KeySource key;
  bool active = false;  // mail is signed with it
  Place place;
};

struct Plan {
  dkim::SigningProfile profile;          // of all domains
  std::set<std::string> domains;         // signing domains
  std::vector<PlannedKey> keys;          // each domain and selector once
  std::set<std::string> author_domains;  // as in the policy: "example.com", ".example.com"
  std::vector<std::string> senders;      // hosts and networks whose mail is signed
  Notes notes;
};

// Puts the rules into `plan`, and says in its notes what changes for whom. `rules` are in the order in which the other
// signer looks at them; it takes the first that matches, or all.
void AddRules(const std::vector<SigningRule>& rules, bool all_matches, Plan& plan);

// The other signer's files.
struct Files {
  // A file's text. It is up to this what may be read, and how much.
  std::function<Result<std::string>(const std::string& path)> read;
  // The names of a folder's files. kNotFound where there is no such folder, and only then.
  std::function<Result<std::vector<std::string>>(const std::string& path)> list;
};

// The lines of a text with their numbers from 1, without line ends and byte order mark. kInvalidArgument for a text
// that has a NUL, which no configuration has.
Result<std::vector<std::string_view>> Lines(std::string_view text, const std::string& file);

std::string_view Trim(std::string_view text);
std::string Lower(std::string_view text);

// Whether `domain` is `above` or below it.
bool IsOrIsBelow(std::string_view domain, std::string_view above);

}  // namespace hallmark::migration
