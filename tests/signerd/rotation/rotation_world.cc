#include "rotation_world.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "signerd/dkim/body_hasher.h"
#include "signerd/dkim/signature.h"

namespace hallmark::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_seconds;

constexpr std::chrono::seconds kMailEvery = 12h;
constexpr std::chrono::seconds kMailLife = std::chrono::days(7);

template <class T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
void Must(const Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

std::string ZoneRecords() {
  std::string text;
  for (int i = 1; i <= 3; ++i) {
    const std::string n = std::to_string(i);
    text += "@ NS ns" + n + "\nns" + n + " A 127.0.1." + n + "\n";
  }
  return text;
}

std::string Json(const std::string& text) { return "\"" + text + "\""; }

}  // namespace

MailVerifier::MailVerifier() {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::execl("/usr/bin/python3", "python3", "-B", HALLMARK_VERIFY_MAIL, nullptr);
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  to_ = ::fdopen(in[1], "w");
  from_ = ::fdopen(out[0], "r");
}

MailVerifier::~MailVerifier() {
  ::fclose(to_);
  ::fclose(from_);
  ::waitpid(pid_, nullptr, 0);
}

std::string MailVerifier::Check(const std::vector<std::string>& servers, std::uint16_t port,
                                const std::vector<std::filesystem::path>& messages) {
  std::string request = "{\"port\": " + std::to_string(port) + ", \"servers\": [";
  for (const auto& server : servers) request += (request.back() == '[' ? "" : ", ") + Json(server);
  request += "], \"messages\": [";
  for (const auto& message : messages) request += (request.back() == '[' ? "" : ", ") + Json(message.string());
  request += "]}\n";
  std::fputs(request.c_str(), to_);
  std::fflush(to_);
  char line[2000];
  if (std::fgets(line, sizeof line, from_) == nullptr) return "the verifier ended";
  std::string answer = line;
  answer.pop_back();
  return answer;
}

RotationWorld::RotationWorld() {
  knots[0] = Knot::Start(kServers[0], port,
                         {{.name = kDomain, .records = ZoneRecords(), .secondaries = {kServers[1], kServers[2]}}});
  if (knots[0] == nullptr) throw std::runtime_error("knotd does not start");
  StartSecondary(1);
  StartSecondary(2);
  tokens.Start();
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (tokens.Facts().front().status.state != link::TokenState::kReady) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the token is not ready");
    std::this_thread::sleep_for(10ms);
  }
  OpenRecords();
  store = Must(store::Store::Open(folder.path() / "hallmark.db"));
  Must(store->InsertDomain({kDomain, "default", kStart}));
  store::RotationPolicy policy;
  policy.publisher = "main";
  policy.record_ttl = 600s;
  Must(store->PutRotationPolicy(policy));
  Restart();
}

void RotationWorld::StartSecondary(std::size_t index) {
  knots[index].reset();
  knots[index] = Knot::Start(kServers[index], port, {{.name = kDomain, .primary = kServers[0]}});
  if (knots[index] == nullptr) throw std::runtime_error("knotd does not start");
}

void RotationWorld::OpenRecords(const char* secret) {
  const auto file = folder.path() / "tsig";
  std::filesystem::remove(file);
  std::ofstream(file) << secret << "\n";
  std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  dns::Settings settings;
  settings.resolver = dns::Nameserver{kServers[0], port};
  settings.nameserver_port = port;
  settings.timeout = 1000ms;
  settings.publishers.push_back({"main", {kServers[0], port}, kWriter256.name, kWriter256.algorithm, file});
  if (between) hook_ = between->hook;
  records = Must(KeyRecords::Open(settings, clock));
  between = std::make_unique<Interposer>(token_signer, *records);
  between->hook = hook_;
  between->settle = [this](const std::string& name) { Settle(name); };
  if (store) Restart();
}

void RotationWorld::Restart() {
  rotator.reset();
  store.reset();
  store = Must(store::Store::Open(folder.path() / "hallmark.db"));
  locks = std::make_unique<keys::DomainLocks>();
  const auto publish = [this]() -> Status {
    auto next = store->BuildSnapshot(current.Get().get());
    if (!next) return next.error();
    current.Set(std::move(*next));
    return Ok();
  };
  Must(publish());
  rotator = std::make_unique<keys::Rotator>(
      keys::RotationParts{*store, *between, *between, *between, clock, publish, [] { return Ok(); },
                          [this](const store::KeyEvent& step, const std::string& outcome) {
                            ledgered.push_back(outcome + " " + step.to + " " + step.selector);
                            return Ok();
                          },
                          [](sys_seconds) { return Ok(); }},
      *locks);
}

void RotationWorld::Settle(const std::string& name) {
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto view = Must(records->Observe(name));
    std::set<std::vector<std::string>> different;
    for (const auto& server : view.servers) {
      const bool counts = std::any_of(settled_servers.begin(), settled_servers.end(), [&](const std::string& address) {
        return server.server.find(" " + address + " ") != std::string::npos;
      });
      if (counts) different.insert(server.values);
    }
    if (different.size() == 1) return;
    std::this_thread::sleep_for(20ms);
  }
  throw std::runtime_error("the secondaries did not get " + name);
}

sys_seconds RotationWorld::Tick() {
  try {
    return rotator->Tick(kDomain).time;
  } catch (const Crash&) {
    ++crashes;
    Restart();
    return clock.Now() + 1s;
  }
}

std::set<std::string> RotationWorld::Signing() const {
  std::set<std::string> selectors;
  const auto view = current.Get();
  for (const auto& key : view->FindDomain(kDomain)->active_keys) selectors.insert(key->selector);
  return selectors;
}

RotationWorld::Mail RotationWorld::MakeMail() {
  const auto view = current.Get();
  const snapshot::Domain* domain = view->FindDomain(kDomain);
  const std::string time = std::to_string(clock.Now().time_since_epoch().count());
  const std::string head = "From: a@" + std::string(kDomain) + "\r\nSubject: at " + time + "\r\n\r\n";
  const std::string body = "Signed at " + time + "\r\n";
  const auto header = Must(dkim::Header::Parse(head));
  const auto fields = Must(dkim::CanonicalizeFields(header, *domain->profile));
  dkim::BodyHasher hasher(dkim::Canonicalization::kRelaxed);
  hasher.Push(body);
  const dkim::BodyHash hash = hasher.Finish();
  std::string message;
  for (const auto& key : domain->active_keys) {
    const auto prepared =
        Must(dkim::PrepareSignature({fields, *domain->profile, kDomain, key->selector, key->public_key->algorithm(),
                                     dkim::Canonicalization::kRelaxed, hash, clock.Now()}));
    message += dkim::AssembleField(prepared, Must(token_signer.Sign(key, prepared.signed_data)));
  }
  const auto path = folder.path() / ("mail-" + std::to_string(mail_.size()) + ".eml");
  std::ofstream(path, std::ios::binary) << message << head << body;
  return {lived, path, Signing()};
}

void RotationWorld::SignMail() {
  if (!Signing().empty()) mail_.push_back(MakeMail());
}

bool RotationWorld::CheckMail() {
  std::vector<std::filesystem::path> recent;
  std::set<std::string> selectors;
  for (const Mail& mail : mail_) {
    if (mail.time <= lived - kMailLife) continue;
    recent.push_back(mail.path);
    selectors.insert(mail.selectors.begin(), mail.selectors.end());
  }
  ++instants;
  verified += static_cast<int>(recent.size() * checked_servers.size());
  const std::string answer = verifier_.Check(checked_servers, port, recent);
  EXPECT_EQ(answer, "ok") << "after " << HoursLived() << " h"
                          << "\n"
                          << Describe();
  if (answer != "ok") return false;
  for (const std::string& selector : selectors) last_verified[selector] = lived;
  return true;
}

void RotationWorld::Live(sys_seconds end, std::chrono::seconds step, const std::function<bool()>& done) {
  sys_seconds next = clock.Now();
  while (clock.Now() < end) {
    const auto signing = Signing();
    std::optional<Mail> before;
    if (clock.Now() >= next) {
      if (!signing.empty()) before = MakeMail();
      next = Tick();
    }
    const bool changed = Signing() != signing;
    if (changed && before) mail_.push_back(std::move(*before));
    if (changed || lived - last_mail_ >= kMailEvery) {
      SignMail();
      last_mail_ = lived;
    }
    if (!CheckMail()) return;
    if (done && done()) return;
    const std::chrono::seconds passes = std::min(std::max(next - clock.Now(), 1s), step);
    clock.Set(clock.Now() + passes);
    lived += passes;
  }
}

store::DomainLife RotationWorld::Life() { return Must(store->GetDomainLife(kDomain)); }
keys::RotationView RotationWorld::View() { return Must(rotator->View(kDomain)); }

int RotationWorld::Count(snapshot::KeyState state) {
  int count = 0;
  for (const auto& key : Must(store->ListKeys(kDomain, {"", -1}))) count += key.state == state ? 1 : 0;
  return count;
}

std::string RotationWorld::HoursLived() const {
  return std::to_string(std::chrono::duration_cast<std::chrono::hours>(lived - kStart).count());
}

std::string RotationWorld::Describe() {
  std::string text = "after " + HoursLived() + " h\n";
  const auto view = View();
  for (const auto& key : view.life.keys) {
    text += key.key.selector + " " + std::string(keys::StateName(key.key.state)) + " record " +
            std::string(keys::StateName(key.key.record)) + "\n";
  }
  for (const auto& step : view.steps) text += "step of " + step.selector + ": waits for " + step.waits_for + "\n";
  return text + "trouble: " + view.trouble + "\n";
}

}  // namespace hallmark::test
