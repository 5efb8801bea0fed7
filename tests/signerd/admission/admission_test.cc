#include "signerd/admission/admission.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace hallmark::admission {
namespace {

using snapshot::Domain;
using snapshot::Relay;
using snapshot::Snapshot;

class Admission : public testing::Test {
 protected:
  Admission() {
    for (const char* name : {"example.com", "news.example.com", "example.org", "xn--mnchen-3ya.example"}) {
      Domain domain{name, std::make_shared<const dkim::PreparedProfile>(dkim::DefaultProfile()), {}};
      domain.active_keys.push_back(std::make_shared<const snapshot::Key>(test::SampleKey(name, "s1")));
      view_.domains.emplace(name, domain);
    }
    view_.domains.emplace("keyless.example", Domain{"keyless.example", view_.domains.at("example.com").profile, {}});
    AddRelay({"all", "dns:all.example", true, {}});
    AddRelay({"com", "dns:com.example", false, {"example.com"}});
    AddRelay({"spiffe", "uri:spiffe://example/relay", false, {"example.org"}});
  }
  void AddRelay(const Relay& relay) { view_.relays.emplace(relay.identity, relay); }
  const Relay& RelayNamed(const std::string& identity) const { return *view_.FindRelay(identity); }

  Snapshot view_;
};

TEST_F(Admission, CallerIsTheOneRelayThatItsCertificateNames) {
  const std::vector<std::string> identities = {"dns:unknown.example", "uri:spiffe://example/relay"};
  const auto relay = AdmitCaller(view_, identities);
  ASSERT_TRUE(relay);
  EXPECT_EQ((*relay)->name, "spiffe");
}

TEST_F(Admission, CallerIsRefusedWithoutANameOrWithTwo) {
  const std::vector<std::vector<std::string>> rows = {{},
                                                      {"dns:unknown.example"},
                                                      {"dns:com.example", "dns:all.example"},
                                                      {"uri:com.example"},
                                                      {"com.example"},
                                                      {"DNS:com.example"}};
  for (const auto& identities : rows) {
    const auto relay = AdmitCaller(view_, identities);
    ASSERT_FALSE(relay);
    EXPECT_EQ(relay.error().reason, Reason::kCallerUnknown);
  }
}

struct Row {
  const char* relay;
  const char* author;
  const char* requested;
  const char* domain;  // null: refused
  Reason reason = Reason::kInternal;
};

constexpr Row kRows[] = {
    {"dns:all.example", "example.com", "", "example.com"},
    {"dns:all.example", "a.b.example.com", "", "example.com"},
    {"dns:all.example", "news.example.com", "", "news.example.com"},
    {"dns:all.example", "deep.news.example.com", "", "news.example.com"},
    {"dns:all.example", "deep.news.example.com", "example.com", "example.com"},
    {"dns:all.example", "deep.news.example.com", "EXAMPLE.com.", "example.com"},
    {"dns:all.example", "xn--mnchen-3ya.example", "m\xc3\xbcnchen.example", "xn--mnchen-3ya.example"},
    {"dns:com.example", "example.com", "", "example.com"},
    {"dns:com.example", "mail.example.com", "", "example.com"},
    // Not a shorter domain instead of the one that it may not use.
    {"dns:com.example", "news.example.com", "", nullptr, Reason::kDomainNotAllowed},
    {"dns:com.example", "example.org", "", nullptr, Reason::kDomainNotAllowed},
    {"dns:com.example", "example.org", "example.org", nullptr, Reason::kDomainNotAllowed},
    // What another tenant has is not told.
    {"dns:com.example", "example.com", "secret.example", nullptr, Reason::kDomainNotAllowed},
    // From must be within the signing domain, label by label.
    {"dns:all.example", "example.org", "example.com", nullptr, Reason::kDomainNotAllowed},
    {"dns:all.example", "fexample.com", "example.com", nullptr, Reason::kDomainNotAllowed},
    {"dns:all.example", "example.com", "news.example.com", nullptr, Reason::kDomainNotAllowed},
    {"dns:all.example", "com", "", nullptr, Reason::kDomainNotConfigured},
    {"dns:all.example", "fexample.com", "", nullptr, Reason::kDomainNotConfigured},
    {"dns:all.example", "other.example", "other.example", nullptr, Reason::kDomainNotConfigured},
    {"dns:all.example", "keyless.example", "", nullptr, Reason::kNoActiveKey},
    {"dns:all.example", "example.com", "exa mple.com", nullptr, Reason::kInvalidArgument},
    {"dns:all.example", "example.com", "example.com;x=1", nullptr, Reason::kInvalidArgument},
    {"dns:all.example", "example.com", "example.com\r\nBcc: x", nullptr, Reason::kInvalidArgument},
};

TEST_F(Admission, SigningDomain) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(std::string(row.relay) + " From " + row.author + " as \"" + row.requested + "\"");
    const auto domain = ChooseDomain(view_, RelayNamed(row.relay), row.author, row.requested);
    ASSERT_EQ(domain.has_value(), row.domain != nullptr);
    if (row.domain != nullptr) {
      EXPECT_EQ((*domain)->name, row.domain);
    } else {
      EXPECT_EQ(domain.error().reason, row.reason);
    }
  }
}

}  // namespace
}  // namespace hallmark::admission
