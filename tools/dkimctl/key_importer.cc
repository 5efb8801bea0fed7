#include "tools/dkimctl/key_importer.h"

#include <fcntl.h>
#include <google/protobuf/util/message_differencer.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>

#include "firmware/runtime/file.h"
#include "hallmark/admin/v1/migration.grpc.pb.h"
#include "hallmark/admin/v1/policy.grpc.pb.h"
#include "signerd/dkim/algorithm.h"
#include "tools/dkimctl/names.h"
#include "tools/dkimctl/stop_signals.h"
#include "tools/migration/wrap.h"

namespace hallmark::ctl {
namespace {

namespace api = admin::v1;
using Stub = AdminClient::Stub;
using Migration = api::MigrationService::Stub;

api::SigningProfile ToApi(const dkim::SigningProfile& profile) {
  const auto name = [](dkim::Canonicalization canonicalization) {
    return canonicalization == dkim::Canonicalization::kSimple ? "simple" : "relaxed";
  };
  api::SigningProfile out;
  out.set_name(profile.name);
  out.set_header_canonicalization(name(profile.header));
  out.set_body_canonicalization(name(profile.body));
  for (const auto& field : profile.signed_fields) out.add_signed_fields(field);
  for (const auto& field : profile.oversigned_fields) out.add_oversigned_fields(field);
  for (const auto& field : profile.excluded_fields) out.add_excluded_fields(field);
  out.set_line_endings(api::LINE_ENDINGS_NORMALIZE);
  if (profile.expires_after) out.set_expires_after_seconds(profile.expires_after->count());
  out.set_copied_fields(profile.copied_fields);
  return out;
}

std::string AlgorithmText(const migration::PrivateKey& key) {
  return key.ed25519 ? "ed25519" : "rsa" + std::to_string(key.bits);
}

// "/etc/dkim/mail.private", or "/etc/dkim/keys:12" of one within a table.
std::string SourceOf(const migration::PlannedKey& key) {
  return key.key.path.empty() ? key.place.Text() : key.key.path;
}

// Why the key cannot sign; empty where it can.
std::string TooSmall(const migration::PrivateKey& key) {
  const auto& info = dkim::InfoOf(key.ed25519 ? dkim::Algorithm::kEd25519Sha256 : dkim::Algorithm::kRsaSha256);
  if (key.bits >= info.minimum_signing_bits) return "";
  return "not imported: " + std::to_string(key.bits) + " bits are too few to sign with (RFC 8301); make a new key";
}

// Whether it signed, and never will again.
bool IsOver(api::KeyState state) {
  return state == api::KEY_STATE_REVOKED || state == api::KEY_STATE_WITHDRAWN || state == api::KEY_STATE_DESTROYED;
}

// Puts the private key, wrapped, into a message that has fields for it.
template <class Message>
Answer<void> WrapInto(const std::string& wrapping_key, const migration::PrivateKey& read, Message& message) {
  const auto wrapped = migration::WrapPrivateKey(AsBytes(wrapping_key), read.pkcs8);
  if (!wrapped) return FromError(wrapped.error());
  message.set_wrapping_key_sha256(std::string(AsText(wrapped->wrapping_key_sha256)));
  message.set_wrapped_secret(std::string(AsText(wrapped->secret)));
  message.set_wrapped_key(std::string(AsText(wrapped->key)));
  return {};
}

// "; not in hsm-2: copy it there", where it is a group's, and some could not take it.
std::string WithoutText(const api::Key& key, const api::BeginImportResponse& begun) {
  std::set<std::string> without(key.missing_tokens().begin(), key.missing_tokens().end());
  for (const api::UnableToken& unable : begun.unable()) without.insert(unable.token());
  std::string text;
  for (const std::string& token : without) text += (text.empty() ? "; not in " : ", ") + token;
  return text.empty() ? text : text + ": copy it there";
}

// Turns what is typed invisible, and back.
class SilentTerminal {
 public:
  explicit SilentTerminal(int terminal) : terminal_(terminal), good_(::tcgetattr(terminal, &before_) == 0) {
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (good_) ::tcsetattr(terminal, TCSAFLUSH, &silent);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;
  ~SilentTerminal() {
    if (good_) ::tcsetattr(terminal_, TCSAFLUSH, &before_);
  }
  bool good() const { return good_; }

 private:
  const int terminal_;
  termios before_{};
  const bool good_;
};

}  // namespace

std::optional<migration::SecretOctets> AskForPassPhrase(const std::string& source) {
  constexpr std::size_t kMost = 1024;
  constexpr int kLookMs = 100;  // a signal may come to another thread, and then interrupts nothing here
  const StopSignals stop;
  const FileDescriptor terminal(::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal) return std::nullopt;
  const SilentTerminal silent(terminal.get());
  if (!silent.good()) return std::nullopt;
  const auto say = [&](std::string_view text) {
    return ::write(terminal.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  };
  if (!say("Pass phrase of the private key in " + OneLine(source) + ": ")) return std::nullopt;
  migration::SecretOctets phrase;
  phrase.reserve(kMost);
  std::uint8_t octet = 0;
  pollfd typed{terminal.get(), POLLIN, 0};
  while (phrase.size() < kMost && stop.GoOn()) {
    if (::poll(&typed, 1, kLookMs) <= 0) continue;
    if (::read(terminal.get(), &octet, 1) != 1 || octet == '\n') break;
    phrase.push_back(octet);
  }
  if (!say("\n") || phrase.empty()) return std::nullopt;
  return phrase;
}

Answer<KeyImporter> KeyImporter::Open(const Context& context, const ImportOptions& options) {
  auto client = AdminClient::Open(context);
  if (!client) return client.error();
  KeyImporter importer(std::move(*client), options);
  const auto domains = importer.client_.ListDomains();
  if (!domains) return domains.error();
  for (const auto& domain : domains->domains()) importer.domains_[domain.name()] = domain.profile();
  const auto keys = importer.client_.ListKeys("");
  if (!keys) return keys.error();
  for (const auto& key : keys->keys()) importer.keys_[{key.domain(), key.selector()}] = key;
  return importer;
}

Answer<std::string> KeyImporter::PutProfile(const dkim::SigningProfile& profile) {
  const api::SigningProfile wanted = ToApi(profile);
  api::GetSigningProfileRequest get;
  get.set_name(wanted.name());
  auto present = client_.Call(&Stub::GetSigningProfile, get);
  if (present) present->clear_etag();  // nobody has one of what is not there yet
  if (present && google::protobuf::util::MessageDifferencer::Equals(*present, wanted)) {
    return std::string("there already");
  }
  if (present) {
    return Failed("there is a profile \"" + wanted.name() + "\" that signs otherwise: name another with --profile");
  }
  if (present.error().reason != "NOT_FOUND") return present.error();
  if (options_.dry_run) return std::string("would be made");
  api::CreateSigningProfileRequest create;
  *create.mutable_profile() = wanted;
  const auto made = client_.Call(&Stub::CreateSigningProfile, create);
  if (!made) return made.error();
  return std::string("made");
}

Answer<std::string> KeyImporter::PutDomain(const std::string& domain, const std::string& profile) {
  const auto known = domains_.find(domain);
  if (known != domains_.end()) {
    if (profile.empty() || known->second == profile) return std::string("there already");
    return "there already, and signs by the profile \"" + known->second +
           "\"; change it with: dkimctl domain set-profile " + domain + " " + profile;
  }
  if (options_.dry_run) return std::string("would be made");
  api::CreateDomainRequest create;
  create.set_name(domain);
  create.set_profile(profile);
  const auto made = client_.Call(&Stub::CreateDomain, create);
  if (!made) return made.error();
  domains_[made->name()] = made->profile();
  return std::string("made");
}

Answer<migration::PrivateKey> KeyImporter::ReadKey(const migration::PlannedKey& key) {
  const auto ask = [&] { return AskForPassPhrase(SourceOf(key)); };
  auto read = key.key.path.empty() ? migration::ParsePrivateKey(key.key.content, ask)
                                   : migration::ReadPrivateKey(key.key.path, ask);
  if (!read) return FromError(read.error());
  return std::move(*read);
}

ImportedKey KeyImporter::PutKey(const migration::PlannedKey& key, bool use) {
  ImportedKey out{key.domain, key.selector, SourceOf(key), "", "", false};
  const auto failed = [&](const Failure& failure) {
    out.result = "not imported: " + failure.message;
    return out;
  };
  const auto read = ReadKey(key);
  if (!read) return failed(read.error());
  out.algorithm = AlgorithmText(*read);
  out.result = TooSmall(*read);
  if (!out.result.empty()) return out;

  auto known = keys_.find({key.domain, key.selector});
  if (known != keys_.end() && known->second.public_key() != AsText(read->spki)) {
    return failed(Failed("the selector is another key's here"));
  }
  if (known != keys_.end() && IsOver(known->second.state())) {
    return failed(Failed("this key was here, is " + NameOf(known->second.state()) +
                         " and signs nothing any more; new ones: dkimctl key rotate " + key.domain));
  }
  std::string without;  // tokens of a group that have not taken it
  out.result = known != keys_.end() ? "there already" : options_.dry_run ? "would be imported" : "imported";
  if (known == keys_.end() && !options_.dry_run) {
    auto imported = Import(key, *read);
    if (!imported) return failed(imported.error());
    known = keys_.emplace(std::pair(key.domain, key.selector), std::move(*imported)).first;
    without = WithoutText(known->second, *begun_);
  }
  out.good = without.empty();
  const bool waits = known == keys_.end() || known->second.state() == api::KEY_STATE_GENERATED;
  if (known != keys_.end()) out.result += ", " + NameOf(known->second.state());
  if (!use || !waits || !options_.activate) {
    out.result += without;
    return out;
  }
  if (options_.dry_run) {
    out.result += ", would be activated";
    return out;
  }
  const auto activated = Activate(key);
  out.good = out.good && activated.has_value();
  out.result = activated ? out.result.substr(0, out.result.rfind(',')) + ", active" + without
                         : out.result + without + "; not activated: " + activated.error().message;
  return out;
}

Answer<void> KeyImporter::BeginImport() {
  api::BeginImportRequest request;
  request.set_token(options_.token);
  auto begun = client_.Call(&Migration::BeginImport, request);
  if (!begun) return begun.error();
  begun_ = std::move(*begun);
  return {};
}

Answer<api::Key> KeyImporter::Import(const migration::PlannedKey& key, const migration::PrivateKey& read) {
  if (!begun_) {
    const auto begun = BeginImport();
    if (!begun) return begun.error();
  }
  auto imported = SendWrapped(key, read);
  if (imported || imported.error().reason != "STATE_CONFLICT") return imported;
  // The token was logged in to again since: its wrapping key is another.
  const auto begun = BeginImport();
  if (!begun) return begun.error();
  return SendWrapped(key, read);
}

Answer<api::Key> KeyImporter::SendWrapped(const migration::PlannedKey& key, const migration::PrivateKey& read) {
  api::ImportKeyRequest request;
  request.set_domain(key.domain);
  request.set_selector(key.selector);
  request.set_token(begun_->token());
  request.set_public_key(std::string(AsText(read.spki)));
  // A copy for each token of a group.
  for (const api::WrappingKey& member : begun_->members()) {
    auto& copy = *request.add_copies();
    copy.set_token(member.token());
    const auto wrapped = WrapInto(member.public_key(), read, copy);
    if (!wrapped) return wrapped.error();
  }
  if (begun_->members().empty()) {
    const auto wrapped = WrapInto(begun_->wrapping_key(), read, request);
    if (!wrapped) return wrapped.error();
  }
  return client_.Call(&Migration::ImportKey, request);
}

Answer<void> KeyImporter::Activate(const migration::PlannedKey& key) {
  api::ActivateKeyRequest request;
  request.set_domain(key.domain);
  request.set_selector(key.selector);
  request.set_unpublished(options_.unpublished);
  // A domain whose first imported key signs has successors made at once, which holds it for as long as a pair takes.
  // signerd itself waits some seconds for that each time.
  constexpr int kMostTries = 20;
  auto active = client_.Call(&Stub::ActivateKey, request);
  for (int tries = 1; !active && active.error().reason == "STATE_CONFLICT" && tries < kMostTries; ++tries) {
    active = client_.Call(&Stub::ActivateKey, request);
  }
  if (!active) return active.error();
  keys_[{key.domain, key.selector}] = *active;
  return {};
}

std::vector<std::string> KeyImporter::SignedByEd25519Alone(const std::set<std::string>& domains) const {
  std::set<std::string> signed_for, by_rsa;
  for (const auto& [name, key] : keys_) {
    if (IsActive(key)) signed_for.insert(key.domain());
    if (IsActiveRsa(key)) by_rsa.insert(key.domain());
  }
  std::vector<std::string> alone;
  std::copy_if(domains.begin(), domains.end(), std::back_inserter(alone),
               [&](const std::string& domain) { return signed_for.contains(domain) && !by_rsa.contains(domain); });
  return alone;
}

Answer<std::optional<api::Policy>> KeyImporter::PolicyFor(const migration::Plan& plan) {
  auto present = client_.Call(&api::PolicyService::Stub::GetPolicy, api::GetPolicyRequest());
  if (!present) return present.error();
  api::Policy policy = std::move(*present->mutable_policy());
  const auto own = std::find_if(policy.mutable_partners()->begin(), policy.mutable_partners()->end(),
                                [](const api::Partner& partner) { return partner.name() == "own"; });
  if (own == policy.mutable_partners()->end()) return Failed("the policy has no partner \"own\"");
  bool changed = false;
  const auto add = [&](const std::string& entry, google::protobuf::RepeatedPtrField<std::string>* list) {
    const bool there = std::any_of(list->begin(), list->end(), [&](const std::string& known) {
      const bool dotted = known.starts_with('.') && entry != known;
      return known == "*" || known == entry ||
             (dotted && migration::IsOrIsBelow(entry.starts_with('.') ? entry.substr(1) : entry, known.substr(1)));
    });
    if (there) return;
    *list->Add() = entry;
    changed = true;
  };
  for (const std::string& entry : plan.author_domains) add(entry, own->mutable_author_domains());
  for (const std::string& domain : plan.domains) add(domain, own->mutable_signing_domains());
  if (!changed) return std::optional<api::Policy>();
  return std::optional<api::Policy>(std::move(policy));
}

}  // namespace hallmark::ctl
