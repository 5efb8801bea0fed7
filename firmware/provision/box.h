#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "firmware/provision/configuration.h"
#include "firmware/runtime/result.h"
#include "firmware/runtime/secret.h"

// What a configuration becomes on the box. Everything is made beside and put in place by a rename, so that a power cut
// leaves a box that is not set up, or one that is; and the same call again finishes it.
namespace hallmark::provision {

// Where things are on the box; all below one folder in tests.
struct Places {
  explicit Places(const std::filesystem::path& root = "/")
      : config(root / "var/lib/hallmark-config"),
        state(root / "var/lib/hallmark"),
        run(root / "run/hallmark"),
        network(root / "run/systemd/network"),
        libexec(root / "usr/libexec/hallmark"),
        share(root / "usr/share/hallmark"),
        unit(root / "run/systemd/system/hallmark-signerd.service.d/token.conf"),
        release(root / "usr/lib/os-release"),
        kernels(root / "efi/EFI/Linux"),
        leases(root / "run/systemd/netif/leases"),
        recipients(root / "var/lib/hallmark-recovery/recipients.pem") {}

  std::filesystem::path config;   // /etc/hallmark is a link to it; that it is there says that the box is set up
  std::filesystem::path state;    // signerd's
  std::filesystem::path run;      // in memory
  std::filesystem::path network;  // systemd-networkd's, in memory
  std::filesystem::path libexec;  // the image's scripts
  std::filesystem::path share;    // softhsm2.conf; owner-ca.pem where the image names an owner
  std::filesystem::path unit;     // what signerd's unit gets for the token, in memory
  std::filesystem::path release;  // names the version that runs
  std::filesystem::path kernels;  // of the versions that can start, on the EFI partition
  std::filesystem::path leases;   // what DHCP gave, as systemd-networkd keeps it
  // For whom the state's recovery key is. The script make-recovery puts it there before the key.
  std::filesystem::path recipients;
  TokenPlaces tokens;
  std::string user = "hallmark";  // whom signerd runs as; has to exist

  std::filesystem::path owner_ca() const;  // empty where the image names no owner
};

// Where a configuration came from, for the pin and for people.
struct Origin {
  std::string signer;       // the subject; empty: typed at the console
  std::string fingerprint;  // of the signer's certificate
  std::string key;          // SHA-256 of the signer's public key; empty: typed at the console
};

struct SetUp {
  std::string certificate;  // of the box, PEM
  std::string fingerprint;  // its SHA-256
  std::string recovery;     // CMS, PEM: a recovery key of the state, for those in recipients.pem; empty where nobody is
};

// Fills the empty folder of a state that is to be restored.
using Restore = std::function<Status(const std::filesystem::path& state)>;

// Whether a configuration is in force here: Apply has put it in place.
bool IsSetUp(const Places& places);

// Writes for networkd what a configuration says of the network, in memory; takes it away where it says nothing.
Status PutNetwork(const Network& network, const Places& places);

// The first configuration: makes the box's TLS key and certificate, its token with random PINs, and seals the PINs;
// where the configuration brings recipients.pem, a recovery key for these, and otherwise none. Nothing when the box is
// set up already (kStateConflict). kConfigInvalid where signerd would not take the configuration: nothing is changed
// then. `restore` is called where the configuration names a backup. `text` is the packed text that `configuration` was
// read from. `pin` is that of the token, which CheckPin took, where PinIsTyped.
Result<SetUp> Apply(const Configuration& configuration, const std::string& text, const Origin& origin,
                    const Places& places, const Restore& restore, const SecretString* pin = nullptr);

// A box that is not set up: takes back the recovery key that a set-up made which was cut off. Nobody has the file for
// it, and a state that does not open would wait for that. A state that is not ours keeps its own.
Status ForgetUnfinished(const Places& places);

// What Apply made, and a certificate that Replace made, until ForgetNews: whoever waits for it has to have it first.
// kNotFound after that.
Result<SetUp> News(const Places& places);
Status ForgetNews(const Places& places);

// A later one: host name, network, signerd's files. The token, its PINs and the TLS key stay; the certificate is made
// anew where its names change. kStateConflict where the revision is not higher, it is signed by another than the
// first, it is for a box of another name and does not say that it replaces this one, or it wants another token; and
// where the version that runs has not shown yet that it signs: the one before, if it has to come back, may not know all
// of the keys. kNotFound where it names a module, device or group that is new and not there: CheckModuleIsThere.
Result<SetUp> Replace(const Configuration& configuration, const std::string& text, const Origin& origin,
                      const Places& places);

// The configuration in force. kNotFound on a box that is not set up.
Result<Configuration> Current(const Places& places);
// Its text; empty on a box that is not set up.
std::string CurrentText(const Places& places);
Result<Origin> CurrentOrigin(const Places& places);

// Each start: clears what a power cut left, and tells the running system its name, network and time servers, and what
// signerd's unit needs for the token. Harmless to repeat; does nothing but the first on a box that is not set up.
// `set_host_name` is sethostname(2). `reload_units` has systemd read signerd's unit again: called where what the token
// adds to it is there, or was before.
Status Settle(const Places& places, const std::function<Status(const std::string&)>& set_host_name,
              const std::function<Status()>& reload_units);

}  // namespace hallmark::provision
