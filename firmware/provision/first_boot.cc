#include "firmware/provision/first_boot.h"

#include <algorithm>
#include <thread>

#include "firmware/provision/make_token.h"
#include "firmware/provision/names.h"
#include "firmware/provision/restore.h"
#include "firmware/provision/wizard.h"
#include "firmware/runtime/file.h"

namespace hallmark::provision {
namespace {

constexpr std::chrono::milliseconds kLook{500};
constexpr std::chrono::seconds kClock{60};  // for a time server; signerd waits too
constexpr std::size_t kConfirm = 16;        // digits of the fingerprint that a person types: 64 bits
constexpr const char* kRecipients = "recipients.pem";
const char* const kTheStick = "the stick";
constexpr std::size_t kMostLease = 1u << 16;

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

// Whether the first digits of "AB:CD:..." were typed, or more of them; with or without the colons.
bool AreFirstDigits(const std::string& typed, const std::string& fingerprint) {
  const auto digits = [](const std::string& text) {
    std::string kept = Lower(text);
    std::erase_if(kept, [](char c) { return c == ':' || c == ' '; });
    return kept;
  };
  return digits(typed).size() >= kConfirm && digits(fingerprint).starts_with(digits(typed));
}

// What the world may have done to a configuration: wait for a better one. Everything else is the box's own trouble.
bool IsOfConfiguration(const Error& error) {
  return error.reason == Reason::kConfigInvalid || error.reason == Reason::kNotFound ||
         error.reason == Reason::kInvalidArgument || error.reason == Reason::kCancelled ||
         error.reason == Reason::kTokenDown;
}

bool IsOfClock(const Error& error) { return error.reason == Reason::kDeadlineExceeded; }

// What a configuration says of the network, while a PIN is tried by it: an HSM may be there. Taken back in the end,
// unless it is to stay.
class TriedNetwork {
 public:
  TriedNetwork(const Places& places, const std::function<void()>& reload) : places_(places), reload_(reload) {}
  TriedNetwork(const TriedNetwork&) = delete;
  TriedNetwork& operator=(const TriedNetwork&) = delete;
  ~TriedNetwork() {
    if (!put_) return;
    (void)PutNetwork({}, places_);
    reload_();
  }
  Status Put(const Network& network) {
    if (network == Network{}) return Ok();
    put_ = true;
    const Status put = PutNetwork(network, places_);
    if (put) reload_();
    return put;
  }
  void Stay() { put_ = false; }

 private:
  const Places& places_;
  const std::function<void()>& reload_;
  bool put_ = false;
};

// What DHCP gave the box: networkd keeps a file for each interface. The set-up has no network to look at itself.
std::vector<std::string> LeasedAddresses(const std::filesystem::path& leases) {
  constexpr std::string_view kKey = "\nADDRESS=";
  std::vector<std::string> addresses;
  std::error_code ended;
  for (std::filesystem::directory_iterator entry(leases, ended), end; !ended && entry != end; entry.increment(ended)) {
    const auto read = ReadFile(entry->path(), kMostLease);
    const std::string text = "\n" + (read ? *read : "");
    const std::size_t at = text.find(kKey);
    if (at == std::string::npos) continue;
    const std::size_t from = at + kKey.size();
    const std::string address = text.substr(from, text.find('\n', from) - from);
    if (IsIpAddress(address)) addresses.push_back(address);
  }
  std::sort(addresses.begin(), addresses.end());
  return addresses;
}

Origin OriginOf(const Signer& signer) { return {signer.subject, signer.fingerprint, signer.key}; }

}  // namespace

Status FirstBoot::Run() {
  if (!push_listen_.empty()) {
    auto push = PushServer::Start(push_listen_);
    if (push) {
      push_ = std::move(*push);
    } else {
      console_.Say("nothing can be pushed: " + push.error().message);
    }
  }
  if (const Status forgotten = ForgetUnfinished(places_); !forgotten) console_.Say(forgotten.error().message);
  Invite();
  while (!done_) {
    Status looked = LookAtStick();
    if (looked && !done_) looked = LookAtPush();
    if (!looked) return looked;
    if (done_) break;
    if (const auto line = console_.ReadLine(kLook)) {
      if (const Status heard = Hear(*line); !heard) return heard;
    }
  }
  return Ok();
}

void FirstBoot::Invite() {
  console_.Say("not set up yet: put in the stick with the label HALLMARK and the file " + std::string(kFileName) +
               " on it");
  if (push_) {
    const std::vector<std::string> addresses = LeasedAddresses(places_.leases);
    console_.Say("or push the file: hallmark-provision push " + std::string(kFileName) + " --box " +
                 (addresses.empty() ? "ADDRESS" : addresses.front()) + ":" + std::to_string(push_->port()) +
                 " --fingerprint F --out server.pem");
    // The whole of it each time: who connects a terminal later sees nothing of what was said before.
    console_.Show("  one-time code " + push_->Code());
    console_.Say("  fingerprint   " + push_->fingerprint());
    if (addresses.empty()) console_.Say("  ADDRESS       none from DHCP yet; press Enter to look again");
    for (const std::string& address : addresses) console_.Say("  its address   " + address);
  }
  if (places_.owner_ca().empty()) console_.Say("or type setup here and press Enter");
}

Status FirstBoot::LookAtStick() {
  const bool in = stick_.Present();
  if (!in) {
    if (pending_) console_.Say("the stick was taken out: what was on it is not waited for any more");
    pending_.reset();
    last_seen_.clear();
    awaits_clock_ = {};
  }
  const bool news = in && !stick_was_in_;
  stick_was_in_ = in;
  if (!in) return Ok();
  auto content = stick_.Read();
  if (!content) {
    if (news || pending_) console_.Say(content.error().message);
    pending_.reset();
    last_seen_.clear();
    return Ok();
  }
  if (*content == last_seen_) return Ok();
  pending_.reset();
  last_seen_ = *content;
  const AwaitsClock before = std::exchange(awaits_clock_, {});
  auto opened = Open(*content, kFileName, places_.owner_ca());
  if (!opened) {
    const AwaitsClock now{*content, opened.error().message};
    if (now != before) console_.Say(now.message);
    if (!IsOfClock(opened.error())) return Ok();
    last_seen_.clear();
    awaits_clock_ = now;
    return Ok();
  }
  if (opened->by_owner) return Consider(*opened, {kTheStick});
  console_.Say("the configuration on the stick is signed by " + opened->signer.subject);
  console_.Say("  SHA-256 " + opened->signer.fingerprint);
  console_.Say("if that is right, type its first " + std::to_string(kConfirm) +
               " digits and press Enter: this box will take no other signer's from then on");
  pending_ = std::move(*opened);
  return Ok();
}

Status FirstBoot::LookAtPush() {
  if (!push_) return Ok();
  if (const auto code = push_->NewCode()) {
    console_.Say("there were too many wrong codes");
    console_.Show("the one-time code is now " + *code);
  }
  const auto pushed = push_->Take();
  if (!pushed) return Ok();
  console_.Say("a configuration was pushed with the right code");
  // The code was on this console, and whoever used it got it from here: that is the word on who signed.
  const auto opened = Open(pushed->file, kFileName, places_.owner_ca());
  if (opened) return Consider(*opened, {"the network", pushed->number});
  console_.Say(opened.error().message);
  push_->Answer(pushed->number, false, opened.error().message);
  return Ok();
}

Status FirstBoot::Hear(const std::string& line) {
  const std::string word = Lower(line);
  if (pending_) {  // It may have been taken out a moment ago, and the person says no by that.
    if (const Status looked = LookAtStick(); !looked || done_) return looked;
  }
  if (pending_ && AreFirstDigits(line, pending_->signer.fingerprint)) {
    const Signed accepted = std::move(*pending_);
    pending_.reset();
    return Consider(accepted, {kTheStick});
  }
  if (word == "setup" && places_.owner_ca().empty()) {
    const auto text = AskAtConsole(console_);
    if (text) return SetUpWith(*text, {}, {"the console"});
    console_.Say(text.error().message);
    return Ok();
  }
  if (word.empty()) {  // look at the stick again
    last_seen_.clear();
    awaits_clock_ = {};
  }
  if (pending_ && !word.empty()) console_.Say("these are not the first digits of the fingerprint above");
  if (!pending_) Invite();
  return Ok();
}

Status FirstBoot::Consider(const Signed& opened, const Source& source) {
  return SetUpWith(opened.content, OriginOf(opened.signer), source);
}

Status FirstBoot::SetUpWith(const std::string& text, const Origin& origin, const Source& source) {
  const auto refuse = [&](const Error& error) -> Status {
    console_.Say("not set up: " + error.message);
    if (source.push != 0) push_->Answer(source.push, false, error.message);
    return IsOfConfiguration(error) ? Ok() : Status(error);
  };
  const auto configuration = ParsePacked(text, "box.toml");
  if (!configuration) return refuse(configuration.error());
  console_.Say("setting up " + configuration->host_name + " with the configuration from " + source.name);
  std::optional<SecretString> pin;
  TriedNetwork network(places_, reload_network_);
  if (PinIsTyped(configuration->token.kind)) {
    // Before the person types, which gives it the time to come up.
    if (configuration->token.kind == TokenKind::kModule) {
      if (const Status put = network.Put(configuration->network); !put) return refuse(put.error());
    }
    auto typed = AskPin(*configuration);
    if (!typed) return refuse(typed.error());
    pin = std::move(*typed);
  }
  const auto restore = [&](const std::filesystem::path& state) {
    console_.Say("restoring the state from the stick's backup");
    return stick_.Use([&](const std::filesystem::path& folder) {
      return RestoreState(folder, configuration->restore_sha256, state);
    });
  };
  const auto made = Apply(*configuration, text, origin, places_, restore, pin ? &*pin : nullptr);
  if (!made) return refuse(made.error());
  network.Stay();
  done_ = true;
  const bool kept = source.push != 0 && push_->Answer(source.push, true, made->certificate + made->recovery);
  push_.reset();  // whoever else is there hears that it was in vain
  if (made->recovery.empty()) console_.Say("no recovery key: what is on this box is lost with its board");
  // Typed here: who did reads the fingerprint here, and there is no stick to wait for.
  Announce(*made, kept || origin.key.empty());
  if (configuration->restore_sha256.empty()) return Ok();
  console_.Say("the state was restored: destroy restore.key on the stick; for keys that are missing:");
  console_.Say("  dkimctl key replace-missing");
  return Ok();
}

Result<SecretString> FirstBoot::AskPin(const Configuration& configuration) {
  const Token& token = configuration.token;
  while (true) {
    auto pin = console_.ReadHidden("type the PIN of the token " + (token.label.empty() ? token.serial : token.label) +
                                   " and press Enter; it is not shown, and tried once. An empty line gives up");
    if (!pin && pin.error().reason != Reason::kInvalidArgument) return pin;
    if (pin && pin->view().empty()) return MakeError(Reason::kCancelled, "no PIN was typed; press Enter to try again");
    const Status right = pin ? CheckPin(configuration, *pin, places_) : Status(pin.error());
    if (right) return pin;
    if (right.error().reason != Reason::kPinRejected && right.error().reason != Reason::kInvalidArgument) {
      return right.error();
    }
    console_.Say("the PIN is not taken: " + right.error().message);
  }
}

void FirstBoot::Announce(const SetUp& made, bool kept) {
  HandOver(made, kept);
  console_.Say("set up. Its certificate has the SHA-256 fingerprint");
  console_.Say(made.fingerprint);
}

void FirstBoot::HandOver(const SetUp& made, bool kept) {
  const bool recovery = !made.recovery.empty();
  std::map<std::string, std::string> files = {{"server.pem", made.certificate}};
  if (recovery) files["recovery.cms"] = made.recovery;
  if (stick_.Present()) {
    const Status written = stick_.Write(files);
    console_.Say(written ? "on the stick now: the box's certificate, server.pem" +
                               std::string(recovery ? "; and recovery.cms: keep it" : "")
                         : "nothing was written on the stick: " + written.error().message);
    kept = kept || written;
  }
  if (!kept) {
    console_.Say("nobody has its certificate" + std::string(recovery ? " and its recovery key" : "") +
                 " yet: start it with the stick in");
    return;
  }
  const Status forgotten = ForgetNews(places_);
  if (!forgotten) console_.Say(forgotten.error().message + "; all this is said again at the next start");
}

// Of the recovery key: it is encrypted already, and the box has no plain one to encrypt anew.
void FirstBoot::SayWhatStays(const Configuration& before, const Configuration& now) const {
  const auto recipients = [](const Configuration& configuration) {
    const auto file = configuration.files.find(kRecipients);
    return file == configuration.files.end() ? "" : file->second;
  };
  const std::string old = recipients(before), present = recipients(now);
  if (old == present) return;
  if (old.empty()) return console_.Say("recipients.pem makes no recovery key on a box that is set up already");
  console_.Say("the recovery key stays with those of the recipients.pem before");
  if (!present.empty()) console_.Say("  only one that is made after a recovery goes to the new ones");
}

Result<Signed> FirstBoot::OpenLater(const std::string& content) {
  const auto end = std::chrono::steady_clock::now() + kClock;
  auto opened = Open(content, kFileName, places_.owner_ca());
  if (!opened && IsOfClock(opened.error())) {
    console_.Say(opened.error().message + ". Waiting up to " + std::to_string(kClock.count()) + " s for a time server");
  }
  while (!opened && IsOfClock(opened.error()) && stick_.Present() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kLook);
    opened = Open(content, kFileName, places_.owner_ca());
  }
  return opened;
}

void FirstBoot::TakeLater() {
  // Nobody had it when it was made, or the power went.
  const auto first = CurrentOrigin(places_);
  if (const auto news = News(places_)) Announce(*news, first && first->key.empty());
  if (!stick_.Present()) return;
  const auto content = stick_.Read();
  if (!content) return;  // a stick for something else
  // The one that is in force, whose signer's certificate may have expired since. The whole text: a later one may well
  // hold it, below lines of its own.
  if (const auto text = ContentOf(*content, kFileName); text && *text == CurrentText(places_)) return;
  const auto opened = OpenLater(*content);
  Result<Configuration> configuration = opened ? ParsePacked(opened->content, "box.toml") : opened.error();
  const auto before = Current(places_);
  Result<SetUp> made = configuration ? Replace(*configuration, opened->content, OriginOf(opened->signer), places_)
                                     : Result<SetUp>(configuration.error());
  if (!made) {
    console_.Say("the configuration on the stick is not taken: " + made.error().message);
    return;
  }
  console_.Say("revision " + std::to_string(configuration->revision) +
               " of the configuration was taken from the stick");
  if (before) SayWhatStays(*before, *configuration);
  if (made->certificate.empty()) return;
  console_.Say("its new certificate has the SHA-256 fingerprint " + made->fingerprint);
  if (const auto news = News(places_)) HandOver(*news, false);
}

}  // namespace hallmark::provision
