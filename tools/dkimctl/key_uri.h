#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hallmark/admin/v1/admin.pb.h"
#include "tools/dkimctl/failure.h"

// Opaque: p11-kit's parsed URI.
struct p11_kit_uri;

// PKCS#11 URIs (RFC 7512) of key pairs. What is known of the tokens comes from signerd's status: no module is loaded.
namespace hallmark::ctl {

// Where signerd finds a pair.
struct KeyPlace {
  std::string token;   // or group, as keys name it; empty: the first of the configuration
  std::string cka_id;  // octets
};

class KeyUri {
 public:
  // Refuses what does not name a pair by its CKA_ID, and a PIN. object= is taken and not compared, because signerd
  // knows pairs by their CKA_ID.
  static Answer<KeyUri> Parse(const std::string& text);

  // The URI's token is compared with the attributes of signerd's; where none is the same, its token= may be a name of
  // the configuration. `token`: a name that was said beside it, or empty.
  Answer<KeyPlace> Find(const std::string& token, const admin::v1::GetStatusResponse& status) const;

 private:
  using Handle = std::unique_ptr<p11_kit_uri, void (*)(p11_kit_uri*)>;
  explicit KeyUri(Handle uri) : uri_(std::move(uri)) {}
  Handle uri_;
};

// The URI of the key in each token that has it, as far as those are known.
std::vector<std::string> UrisOf(const admin::v1::Key& key, const admin::v1::GetStatusResponse& status);

}  // namespace hallmark::ctl
