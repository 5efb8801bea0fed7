#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "firmware/provision/box.h"
#include "firmware/provision/console.h"
#include "firmware/provision/push_server.h"
#include "firmware/provision/signed_file.h"
#include "firmware/provision/stick.h"

namespace hallmark::provision {

// Waits until the box is set up: by a stick, over the network, or at the console; says on the console what is going on.
// Ends with an error only where waiting on is of no use (the TPM does not seal, the disk does not write).
class FirstBoot {
 public:
  // `push_listen`: where PushServer listens for configurations; empty: not at all. `reload_network`: has networkd read
  // its files again. All outlive it.
  FirstBoot(const Places& places, Console& console, const Stick& stick, std::string push_listen,
            std::function<void()> reload_network)
      : places_(places),
        console_(console),
        stick_(stick),
        push_listen_(std::move(push_listen)),
        reload_network_(std::move(reload_network)) {}

  Status Run();
  // A box that is set up: takes a later configuration if one is on the stick now. Its faults are said, and change
  // nothing.
  void TakeLater();

 private:
  struct Source {
    std::string name;
    int push = 0;  // the number of the push that brought it; 0: another way
  };
  // What a stick, a push or the console brought. Done when the box is set up.
  Status Consider(const Signed& opened, const Source& source);
  Status SetUpWith(const std::string& text, const Origin& origin, const Source& source);
  // What the person types whose token it is, and the token takes. kCancelled: an empty line.
  Result<SecretString> AskPin(const Configuration& configuration);
  // What is on the stick at a later start. Waits a while for a time server where by the clock the signer's certificate
  // is not valid.
  Result<Signed> OpenLater(const std::string& content);
  Status LookAtStick();
  Status LookAtPush();
  Status Hear(const std::string& line);
  void Invite();
  // `kept`: who pushed has what the box has to give.
  void Announce(const SetUp& made, bool kept);
  // Onto the stick; forgotten once somebody has it, and otherwise said and tried again at the next start.
  void HandOver(const SetUp& made, bool kept);
  void SayWhatStays(const Configuration& before, const Configuration& now) const;

  const Places& places_;
  Console& console_;
  const Stick& stick_;
  std::string push_listen_;
  std::function<void()> reload_network_;
  std::unique_ptr<PushServer> push_;
  std::optional<Signed> pending_;  // what is on the stick now; waits for a person's word on who signed it
  std::string last_seen_;          // on the stick: a file is judged once
  // But for one that is not valid by the clock: it is judged again, and what is said of it once.
  struct AwaitsClock {
    std::string content, message;
    bool operator==(const AwaitsClock&) const = default;
  } awaits_clock_;
  bool stick_was_in_ = false;
  bool done_ = false;
};

}  // namespace hallmark::provision
