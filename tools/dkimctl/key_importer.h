#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hallmark/admin/v1/migration.pb.h"
#include "hallmark/admin/v1/policy.pb.h"
#include "tools/dkimctl/client.h"
#include "tools/migration/plan.h"
#include "tools/migration/private_key.h"

namespace hallmark::ctl {

struct ImportOptions {
  std::string token;  // empty: the first of the configuration
  bool activate = false, unpublished = false, dry_run = false;
};

// What became of one key.
struct ImportedKey {
  std::string domain, selector, source, algorithm, result;
  bool good = false;  // it is in the token and may sign, or would
};

// Carries a plan out: profile, domains, keys. What is there already is left as it is, so that an import can be
// repeated. Private keys are wrapped here for the token; signerd does not see them. Not thread-safe.
class KeyImporter {
 public:
  static Answer<KeyImporter> Open(const Context& context, const ImportOptions& options);

  // A sentence for a person: "made", "there already".
  Answer<std::string> PutProfile(const dkim::SigningProfile& profile);
  Answer<std::string> PutDomain(const std::string& domain, const std::string& profile);
  // A key that cannot be imported is a result, not an error: the others go on. `use`: it is to sign.
  ImportedKey PutKey(const migration::PlannedKey& key, bool use);
  // Of these, the domains that only Ed25519 keys sign for now.
  std::vector<std::string> SignedByEd25519Alone(const std::set<std::string>& domains) const;
  // The policy as it is, with what the plan's authors need for "own"; nothing where they may send already.
  Answer<std::optional<admin::v1::Policy>> PolicyFor(const migration::Plan& plan);

 private:
  KeyImporter(AdminClient client, const ImportOptions& options) : client_(std::move(client)), options_(options) {}
  Answer<migration::PrivateKey> ReadKey(const migration::PlannedKey& key);
  Answer<admin::v1::Key> Import(const migration::PlannedKey& key, const migration::PrivateKey& read);
  Answer<admin::v1::Key> SendWrapped(const migration::PlannedKey& key, const migration::PrivateKey& read);
  Answer<void> Activate(const migration::PlannedKey& key);
  Answer<void> BeginImport();

  AdminClient client_;
  const ImportOptions options_;
  std::map<std::string, std::string> domains_;  // with their profiles
  std::map<std::pair<std::string, std::string>, admin::v1::Key> keys_;
  std::optional<admin::v1::BeginImportResponse> begun_;
};

// The pass phrase of the encrypted key in `source`, from the terminal and without showing it; nothing where there is
// none. A signal that ends the program there leaves the terminal as it was.
std::optional<migration::SecretOctets> AskForPassPhrase(const std::string& source);

}  // namespace hallmark::ctl
