#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "answers.h"
#include "knot.h"
#include "signerd/dns/exchange.h"
#include "signerd/dns/message.h"
#include "signerd/dns/observer.h"
#include "signerd/dns/tsig_key.h"
#include "signerd/dns/update.h"

extern char** environ;

namespace hallmark::dns {
namespace {

using testing::HasSubstr;
using Kind = ServerAnswer::Kind;

constexpr char kResolver[] = "127.0.1.9";

// A recursive, validating and caching resolver: Unbound at kResolver, told where each zone is served.
class Unbound {
 public:
  struct Stub {
    std::string zone, address;
  };
  static std::unique_ptr<Unbound> Start(std::uint16_t port, const std::vector<Stub>& stubs, const std::string& anchor) {
    std::unique_ptr<Unbound> unbound(new Unbound());
    std::string pattern = (std::filesystem::temp_directory_path() / "hallmark-unbound.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return nullptr;
    unbound->folder_ = pattern;
    unbound->Write(port, stubs, anchor);
    const std::string config = (unbound->folder_ / "unbound.conf").string();
    // It ends with the test program, however that ends.
    const char* arguments[] = {"/usr/bin/setpriv", "--pdeathsig", "KILL", "/usr/sbin/unbound", "-d", "-p", "-c",
                               config.c_str(),     nullptr};
    if (::posix_spawn(&unbound->pid_, arguments[0], nullptr, nullptr, const_cast<char**>(arguments), environ) != 0)
      return nullptr;
    const auto name = ParseName("id.server");
    const Question question{
        {kResolver, port}, Question::Transport::kTcp, MakeQuery(name->get(), LDNS_RR_TYPE_TXT, Asking::kResolver)};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      // A closed port says so at once; a resolver that is up at least takes the connection.
      const auto answer = Exchange({&question, 1}, std::chrono::milliseconds(200), 1).front();
      if (answer || answer.error().message.find("refused") == std::string::npos) return unbound;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return nullptr;
  }
  ~Unbound() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      int status = 0;
      ::waitpid(pid_, &status, 0);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Unbound(const Unbound&) = delete;
  Unbound& operator=(const Unbound&) = delete;

 private:
  Unbound() = default;
  void Write(std::uint16_t port, const std::vector<Stub>& stubs, const std::string& anchor) const {
    std::ofstream(folder_ / "anchor") << anchor;
    std::ofstream conf(folder_ / "unbound.conf");
    conf << "server:\n  interface: " << kResolver << "\n  port: " << port << "\n  username: \"\"\n  chroot: \"\"\n"
         << "  directory: " << folder_ << "\n  use-syslog: no\n  logfile: " << (folder_ / "log")
         << "\n  num-threads: 1\n"
         << "  access-control: 127.0.0.0/8 allow\n  do-not-query-localhost: no\n  do-ip6: no\n"
         << "  local-zone: \"test.\" nodefault\n  trust-anchor-file: " << (folder_ / "anchor") << "\n"
         << "remote-control:\n  control-enable: no\n";
    for (const Stub& stub : stubs) {
      conf << "stub-zone:\n  name: \"" << stub.zone << "\"\n  stub-addr: " << stub.address << "@" << port << "\n";
    }
  }
  std::filesystem::path folder_;
  pid_t pid_ = -1;
};

class RecursiveTest : public testing::Test {
 protected:
  void SetUp() override {
    port_ = Knot::FreePort();
    child_ = Knot::Start(
        "127.0.1.2", port_,
        {{.name = "child.signed.test", .records = "@ NS ns\nns A 127.0.1.2\nsel TXT \"record\"\n", .sign = true},
         {.name = "other.test", .records = "@ NS ns\nns A 127.0.1.2\nsel TXT \"record\"\n"}});
    ASSERT_NE(child_, nullptr) << "knotd does not start";
    const std::string records =
        "@ NS ns1\nns1 A 127.0.1.1\nsel TXT \"record\"\nalias CNAME sel.other.test.\nchild NS ns.child\nns.child A "
        "127.0.1.2\n"
        "unsigned NS ns1\n" +
        child_->Ds("child.signed.test");
    parent_ = Knot::Start("127.0.1.1", port_,
                          {{.name = "signed.test", .records = records, .sign = true},
                           {.name = "unsigned.signed.test", .records = "@ NS ns1.signed.test.\nsel TXT \"record\"\n"}});
    ASSERT_NE(parent_, nullptr) << "knotd does not start";
    const std::string anchor = parent_->Ds("signed.test");
    unbound_ = Unbound::Start(port_,
                              {{"signed.test", "127.0.1.1"},
                               {"unsigned.signed.test", "127.0.1.1"},
                               {"child.signed.test", "127.0.1.2"},
                               {"other.test", "127.0.1.2"}},
                              anchor);
    ASSERT_NE(unbound_, nullptr) << "unbound does not start";
    anchor_ = std::filesystem::path(testing::TempDir()) / ("hallmark-recursive-" + std::to_string(port_));
    std::ofstream(anchor_) << anchor;
  }
  void TearDown() override { std::filesystem::remove(anchor_); }

  Observer MakeObserver(bool validate) {
    ObserverOptions options;
    options.resolver = Nameserver{kResolver, port_};
    options.port = port_;
    options.timeout = std::chrono::seconds(5);
    if (validate) options.trust_anchor = anchor_;
    return std::move(Observer::Create(options).value());
  }
  static std::string Details(const Observation& seen) {
    std::string details = seen.name + "\n";
    for (const auto& answer : seen.servers) details += answer.server + ": " + answer.detail + "\n";
    return details;
  }

  std::uint16_t port_ = 0;
  std::unique_ptr<Knot> child_, parent_;
  std::unique_ptr<Unbound> unbound_;
  std::filesystem::path anchor_;
};

TEST_F(RecursiveTest, ARecursiveResolverSaysWhereToAsk) {
  struct Case {
    const char* name;
    const char* last;
    bool secure;
  };
  for (const bool validate : {false, true}) {
    Observer observer = MakeObserver(validate);
    for (const Case& row :
         {Case{"sel.signed.test", "sel.signed.test.", true},
          Case{"sel.child.signed.test", "sel.child.signed.test.", true},
          Case{"sel.unsigned.signed.test", "sel.unsigned.signed.test.", false},
          Case{"alias.signed.test", "sel.other.test.", false}, Case{"sel.other.test", "sel.other.test.", false}}) {
      SCOPED_TRACE(row.name);
      const auto seen = observer.ObserveTxt(row.name);
      ASSERT_TRUE(seen) << seen.error().message;
      EXPECT_EQ(seen->name, row.last);
      EXPECT_TRUE(AllHave(*seen, "record")) << Details(*seen);
      EXPECT_EQ(seen->secure, validate && row.secure) << Details(*seen);
      EXPECT_EQ(seen->longest_ttl, std::chrono::seconds(300));
      EXPECT_EQ(seen->negative_ttl, std::chrono::seconds(1800)) << "the zone's own, not what is left of it in a cache";
    }
    const auto none = observer.ObserveTxt("nothing.signed.test");
    ASSERT_TRUE(none) << none.error().message;
    EXPECT_TRUE(AllHaveNone(*none)) << Details(*none);
  }
}

TEST_F(RecursiveTest, WhatTheResolverRemembersIsNotSeen) {
  Observer observer = MakeObserver(true);
  const std::string name = "new._domainkey.signed.test";
  ASSERT_TRUE(AllHaveNone(observer.ObserveTxt(name).value()));
  const auto parsed = ParseName(name);
  const Question question{
      {kResolver, port_}, Question::Transport::kTcp, MakeQuery(parsed->get(), LDNS_RR_TYPE_TXT, Asking::kResolver)};
  const auto ask_resolver = [&] {
    const auto wire = Exchange({&question, 1}, std::chrono::seconds(5), 1).front();
    return ldns_pkt_get_rcode(ParseUsableAnswer(question.message, wire.value())->get());
  };
  ASSERT_EQ(ask_resolver(), LDNS_RCODE_NXDOMAIN);
  UpdaterOptions options;
  options.server = {"127.0.1.1", port_};
  options.key = ParseTsigKey(kWriter256.secret, kWriter256.name, kWriter256.algorithm).value();
  const Status put = Updater::Create(std::move(options))->PutTxt(name, "record", 60, {});
  ASSERT_TRUE(put) << put.error().message;
  EXPECT_EQ(ask_resolver(), LDNS_RCODE_NXDOMAIN) << "the resolver still has the old answer";
  const auto seen = observer.ObserveTxt(name);
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_TRUE(AllHave(*seen, "record")) << Details(*seen);
  EXPECT_TRUE(seen->secure);
}

}  // namespace
}  // namespace hallmark::dns
