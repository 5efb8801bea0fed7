#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "knot.h"
#include "sample.h"
#include "signerd/key_records.h"
#include "signerd/keys/rotator.h"
#include "signerd/token_signer.h"
#include "soft_token.h"

// A domain with its whole world: a SoftHSM token behind tokend, a Knot primary with two secondaries, a clock that the
// test sets, and dkimpy, which verifies every message of the last seven days at every server at every instant.
namespace hallmark::test {

// Thrown where the daemon is to die: what unwinds is lost, what is in the store, the token and the DNS stays.
struct Crash {};

// Stands between the rotation and the world; before and after each call it does what the test wants.
class Interposer final : public keys::Signer, public keys::RecordPublisher, public keys::RecordObserver {
 public:
  // `call`: "Generate", "Find", "Destroy", "Sign", "Put", "Remove", "Observe". May throw Crash, or give an error that
  // is then the call's.
  using Hook = std::function<Status(const std::string& call, bool after)>;
  Interposer(keys::Signer& signer, KeyRecords& records) : signer_(signer), records_(records) {}
  Hook hook;
  // Called with the name after each update that was made: real servers need real time to pass it on.
  std::function<void(const std::string& name)> settle;

  bool HasToken(const std::string& token) const override { return signer_.HasToken(token); }
  std::string DefaultToken() const override { return signer_.DefaultToken(); }
  Status CanMake(const std::string& token, dkim::Algorithm algorithm) const override {
    return signer_.CanMake(token, algorithm);
  }
  Result<keys::TokenKey> Generate(const std::string& token, const keys::KeySpec& spec, const Bytes& cka_id,
                                  const std::string& label) override {
    return Around<Result<keys::TokenKey>>("Generate", [&] { return signer_.Generate(token, spec, cka_id, label); });
  }
  Result<keys::TokenKey> Find(const std::string& token, const Bytes& cka_id) override {
    return Around<Result<keys::TokenKey>>("Find", [&] { return signer_.Find(token, cka_id); });
  }
  Result<Bytes> BeginImport(const std::string& token) override { return signer_.BeginImport(token); }
  Result<keys::TokenKey> Import(const std::string& token, const keys::WrappedKey& wrapped, const Bytes& cka_id,
                                const std::string& label) override {
    return signer_.Import(token, wrapped, cka_id, label);
  }
  Status Destroy(const std::string& token, const Bytes& cka_id, const Bytes& spki) override {
    return Around<Status>("Destroy", [&] { return signer_.Destroy(token, cka_id, spki); });
  }
  Result<Bytes> Sign(std::shared_ptr<const snapshot::Key> key, const std::string& text) override {
    return Around<Result<Bytes>>("Sign", [&] { return signer_.Sign(key, text); });
  }
  bool HasPublisher(const std::string& publisher) const override { return records_.HasPublisher(publisher); }
  Status Put(const std::string& publisher, const std::string& name, const std::string& value, std::chrono::seconds ttl,
             std::span<const std::string> ours) override {
    return Around<Status>("Put", [&] { return Settled(name, records_.Put(publisher, name, value, ttl, ours)); });
  }
  Status Remove(const std::string& publisher, const std::string& name, std::span<const std::string> ours) override {
    return Around<Status>("Remove", [&] { return Settled(name, records_.Remove(publisher, name, ours)); });
  }
  Result<keys::RecordView> Observe(const std::string& name) override {
    return Around<Result<keys::RecordView>>("Observe", [&] { return records_.Observe(name); });
  }

 private:
  template <class Answer, class Call>
  Answer Around(const char* name, Call call) {
    if (hook) {
      const Status before = hook(name, false);
      if (!before) return before.error();
    }
    Answer answer = call();
    if (hook) {
      const Status after = hook(name, true);
      if (!after) return after.error();
    }
    return answer;
  }
  Status Settled(const std::string& name, Status done) {
    if (done && settle) settle(name);
    return done;
  }
  keys::Signer& signer_;
  KeyRecords& records_;
};

// dkimpy in a process of its own.
class MailVerifier {
 public:
  MailVerifier();
  ~MailVerifier();
  MailVerifier(const MailVerifier&) = delete;
  // "ok", or what did not verify.
  std::string Check(const std::vector<std::string>& servers, std::uint16_t port,
                    const std::vector<std::filesystem::path>& messages);

 private:
  pid_t pid_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

class RotationWorld {
 public:
  static constexpr std::chrono::sys_seconds kStart{std::chrono::seconds(1'767'225'600)};  // 2026-01-01
  static constexpr char kDomain[] = "example.test";
  static constexpr const char* kServers[] = {"127.0.1.1", "127.0.1.2", "127.0.1.3"};

  RotationWorld();
  // kWriter256's secret, or another.
  void OpenRecords(const char* secret = kWriter256.secret);
  // The daemon dies and starts again.
  void Restart();
  // One look at the domain; gives when the next is due. A Crash restarts.
  std::chrono::sys_seconds Tick();
  // Waits until every server in checked_servers says the same of the name.
  void Settle(const std::string& name);
  // The selectors of the keys that sign now.
  std::set<std::string> Signing() const;
  // Signs a message now with the keys that the snapshot has, as the pipeline does, and keeps it.
  void SignMail();
  // Verifies all mail of the last seven days at the servers; false, after a failure, when some does not.
  bool CheckMail();
  // Lets time pass until `end` with everything above, in steps of at most `step`. Where other keys sign from an instant
  // on there is mail of that instant by those before and by those after. Ends early when `done` says so.
  void Live(std::chrono::sys_seconds end, std::chrono::seconds step, const std::function<bool()>& done = {});

  store::DomainLife Life();
  keys::RotationView View();
  // How many keys are in the state.
  int Count(snapshot::KeyState state);
  std::string Describe();
  std::string HoursLived() const;
  // Starts server `index` (1, 2: secondaries) anew.
  void StartSecondary(std::size_t index);

  std::uint16_t port = Knot::FreePort();
  SoftToken token{HALLMARK_TOKEND};
  tokens::TokenSet tokens{HALLMARK_TOKEND, {token.Config("softhsm")}};
  TokenSigner token_signer{tokens};
  ManualClock clock{kStart};
  TemporaryFolder folder;
  std::vector<std::unique_ptr<Knot>> knots{3};
  std::vector<std::string> checked_servers{kServers, kServers + 3};
  std::vector<std::string> settled_servers{kServers, kServers + 3};  // those that get updates at once
  std::unique_ptr<KeyRecords> records;
  std::unique_ptr<Interposer> between;
  std::unique_ptr<store::Store> store;
  snapshot::Current current{std::make_shared<const snapshot::Snapshot>()};
  std::vector<std::string> ledgered;  // "BEGUN REVOKED selector"
  std::unique_ptr<keys::DomainLocks> locks;
  std::unique_ptr<keys::Rotator> rotator;
  // The time that has really passed, whatever the clock says.
  std::chrono::sys_seconds lived = kStart;
  int crashes = 0;
  int instants = 0, verified = 0;
  std::map<std::string, std::chrono::sys_seconds> last_verified;  // by selector: when mail of it was last verified

 private:
  struct Mail {
    std::chrono::sys_seconds time;
    std::filesystem::path path;
    std::set<std::string> selectors;
  };
  // Of the keys that sign; not kept yet.
  Mail MakeMail();
  std::vector<Mail> mail_;
  std::chrono::sys_seconds last_mail_{};
  MailVerifier verifier_;
  Interposer::Hook hook_;
};

}  // namespace hallmark::test
