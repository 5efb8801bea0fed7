#include "tools/posture/spf_walk.h"

#include <algorithm>

#include "signerd/snapshot/organizational_domain.h"
#include "tools/posture/kinds.h"

namespace hallmark::posture {
namespace {

constexpr std::size_t kMostMxHosts = 10;          // RFC 7208 section 4.6.4
constexpr unsigned kWideIp4 = 12, kWideIp6 = 28;  // shorter prefixes are more than any one sender has

std::uint64_t AddressesOf(unsigned ip4_prefix) { return std::uint64_t{1} << (32 - ip4_prefix); }

std::string OrganizationOf(const std::string& name) {
  const std::string_view found = snapshot::OrganizationalDomain(name);
  return found.empty() ? name : std::string(found);
}

}  // namespace

bool IsThirdParty(const std::string& name, const std::string& domain) {
  return OrganizationOf(name) != OrganizationOf(domain);
}

void SpfAdmits::Add(const SpfAdmits& other) {
  ip4_addresses += other.ip4_addresses;
  ip4_networks += other.ip4_networks;
  ip6_networks += other.ip6_networks;
  everyone = everyone || other.everyone;
  by_message = by_message || other.by_message;
  for (const std::string& name : other.through) {
    if (std::find(through.begin(), through.end(), name) == through.end()) through.push_back(name);
  }
}

std::string SpfAdmits::Text() const {
  if (everyone) return "lets in every host on the Internet";
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "lets in " : " and ") + part; };
  if (ip4_networks > 0)
    add(Count(ip4_networks, "IPv4 network") + " (addresses: " + std::to_string(ip4_addresses) + ")");
  if (ip6_networks > 0) add(Count(ip6_networks, "IPv6 network"));
  if (by_message) add("what it decides for each message");
  if (text.empty()) text = "lets in nobody at present";
  if (through.size() > 1) {
    text += ", through ";
    for (std::size_t i = 1; i < through.size(); ++i) text += (i == 1 ? "" : ", ") + through[i];
  }
  return text;
}

SpfAdmits SpfWalk::Walk(const SpfRecord& record) { return WalkRecord(record, domain_, true); }

SpfAdmits SpfWalk::WalkRecord(const SpfRecord& record, const std::string& at, bool ends) {
  path_.push_back(at);
  SpfAdmits admits;
  if (ends) end_ = record.All() == nullptr ? '\0' : record.All()->qualifier;
  for (const SpfTerm& term : record.terms) {
    if (lookups_ >= kMostLookups) break;
    const auto third_party = term.qualifier == '+' ? ThirdParty(term.domain_spec, at) : std::nullopt;
    // Of terms that are looked up alone: they are bounded, and each such record is as long as the whole.
    const bool goes =
        term.mechanism == SpfMechanism::kInclude || term.mechanism == SpfMechanism::kPtr || third_party.has_value();
    const auto mended = goes ? Without(record, term, at) : std::vector<std::string>();
    const SpfAdmits found = WalkTerm(term, at, mended);
    if (term.mechanism == SpfMechanism::kPtr)
      report_.Add(kinds::kSpfPtr, at, "the record of " + at + " uses " + Quoted(term.text), mended);
    if (term.qualifier == '+') admits.Add(found);
    if (third_party) NameThirdParty(*third_party, term.text, at, found, mended);
    if (term.mechanism == SpfMechanism::kAll) break;  // Nothing behind it is looked at.
  }
  if (record.redirect && record.All() == nullptr && lookups_ < kMostLookups) {
    const std::string text = "redirect=" + *record.redirect;
    const SpfAdmits found = Follow(*record.redirect, text, at, By::kRedirect, ends, {});
    admits.Add(found);
    if (const auto third_party = ThirdParty(*record.redirect, at)) NameThirdParty(*third_party, text, at, found, {});
  }
  path_.pop_back();
  return admits;
}

SpfAdmits SpfWalk::WalkTerm(const SpfTerm& term, const std::string& at, const std::vector<std::string>& mended) {
  SpfAdmits admits;
  switch (term.mechanism) {
    case SpfMechanism::kAll: admits.everyone = true; return admits;
    case SpfMechanism::kIp4:
    case SpfMechanism::kIp6: return Network(term, at);
    case SpfMechanism::kInclude: return Follow(term.domain_spec, term.text, at, By::kInclude, false, mended);
    case SpfMechanism::kA:
    case SpfMechanism::kMx: return FollowHosts(term, at);
    case SpfMechanism::kPtr:
      ++lookups_;
      admits.by_message = true;
      return admits;
    case SpfMechanism::kExists:
      FollowExists(term, at);
      admits.by_message = true;
      return admits;
  }
  return admits;
}

SpfAdmits SpfWalk::Follow(const std::string& spec, const std::string& text, const std::string& at, By by, bool ends,
                          const std::vector<std::string>& mended) {
  SpfAdmits admits;
  ++lookups_;
  if (ends) end_.reset();  // until the record is found
  const auto target = ExpandForDomain(spec, at);
  if (!target) {
    report_.Add(kinds::kSpfNotFollowed, at, Quoted(text) + " in the record of " + at + " depends on the message");
    admits.by_message = true;
    return admits;
  }
  if (std::find(path_.begin(), path_.end(), *target) != path_.end()) {
    report_.Add(kinds::kSpfLoop, at, Quoted(text) + " in the record of " + at + " leads back to " + *target, mended);
    return admits;
  }
  const Fetched fetched = dns_.FetchTxt(*target, &IsSpf);
  if (fetched.state == Fetched::State::kUnavailable) return admits;
  if (fetched.state == Fetched::State::kNone) {
    if (fetched.instead.empty()) Void(*target);
    report_.Add(by == By::kInclude ? kinds::kSpfIncludeNone : kinds::kSpfRedirectNone, at,
                *target + ", which the record of " + at + " names in " + Quoted(text) + ", has no SPF record" +
                    Instead(fetched),
                mended);
    return admits;
  }
  const auto record = ParseSpf(fetched.records.front());
  if (fetched.state == Fetched::State::kSeveral || !record) {
    report_.Add(kinds::kSpfIncludeBroken, *target,
                "the record of " + *target + " is in error: " +
                    (fetched.state == Fetched::State::kSeveral ? "there are " + std::to_string(fetched.records.size())
                                                               : record.error().message));
    return admits;
  }
  admits.through.push_back(*target);
  admits.Add(WalkRecord(*record, *target, ends));
  return admits;
}

SpfAdmits SpfWalk::FollowHosts(const SpfTerm& term, const std::string& at) {
  SpfAdmits admits;
  ++lookups_;
  const auto name = term.domain_spec.empty() ? at : ExpandForDomain(term.domain_spec, at);
  if (!name) {
    report_.Add(kinds::kSpfNotFollowed, at, Quoted(term.text) + " in the record of " + at + " depends on the message");
    admits.by_message = true;
    return admits;
  }
  if (term.mechanism == SpfMechanism::kA) return Hosts(*name, term);
  const auto mx = dns_.Find(*name, dns::RecordType::kMx);
  if (!mx) return admits;
  if (mx->values.empty()) Void(*name);
  if (mx->values.size() > kMostMxHosts) {
    report_.Add(kinds::kSpfTooManyMx, at,
                Quoted(term.text) + " in the record of " + at + " names " + std::to_string(mx->values.size()) +
                    " MX hosts; 10 are allowed");
    return admits;
  }
  for (const std::string& host : mx->values) {
    if (!host.empty()) admits.Add(Hosts(host, term));
  }
  return admits;
}

// A name with neither A nor AAAA counts as one lookup in vain. (One that lacks only AAAA is in vain for IPv6 clients.)
SpfAdmits SpfWalk::Hosts(const std::string& name, const SpfTerm& term) {
  SpfAdmits admits;
  const auto ip4 = dns_.Find(name, dns::RecordType::kA);
  const auto ip6 = dns_.Find(name, dns::RecordType::kAaaa);
  if (ip4 && ip6 && ip4->values.empty() && ip6->values.empty()) Void(name);
  if (ip4) {
    admits.ip4_networks += ip4->values.size();
    admits.ip4_addresses += ip4->values.size() * AddressesOf(term.ip4_prefix);
    admits.everyone = term.ip4_prefix == 0 && !ip4->values.empty();
  }
  if (ip6) {
    admits.ip6_networks += ip6->values.size();
    admits.everyone = admits.everyone || (term.ip6_prefix == 0 && !ip6->values.empty());
  }
  return admits;
}

SpfAdmits SpfWalk::Network(const SpfTerm& term, const std::string& at) {
  SpfAdmits admits;
  const bool ip4 = term.mechanism == SpfMechanism::kIp4;
  const unsigned prefix = ip4 ? term.ip4_prefix : term.ip6_prefix;
  admits.everyone = prefix == 0;
  if (ip4) {
    admits.ip4_networks = 1;
    admits.ip4_addresses = AddressesOf(prefix);
  } else {
    admits.ip6_networks = 1;
  }
  if (term.qualifier == '+' && prefix > 0 && prefix < (ip4 ? kWideIp4 : kWideIp6))
    report_.Add(kinds::kSpfWideRange, at, "the record of " + at + " lets in " + term.text);
  return admits;
}

void SpfWalk::FollowExists(const SpfTerm& term, const std::string& at) {
  ++lookups_;
  const auto name = ExpandForDomain(term.domain_spec, at);
  if (!name) {
    report_.Add(kinds::kSpfNotFollowed, at, Quoted(term.text) + " in the record of " + at + " depends on the message");
    return;
  }
  const auto found = dns_.Find(*name, dns::RecordType::kA);
  if (found && found->values.empty()) Void(*name);
}

bool SpfWalk::InOwnRecord() const {
  return std::none_of(path_.begin(), path_.end(), [&](const std::string& name) { return IsThirdParty(name, domain_); });
}

std::vector<std::string> SpfWalk::Without(const SpfRecord& record, const SpfTerm& term, const std::string& at) const {
  const SpfRecord mended = SpfWithout(record, term.text);
  // Of an include of nothing, say, some hosts were to pass: with nothing but -all left they would be refused.
  if (!InOwnRecord() || !mended.LetsIn()) return {};
  return {TxtLine(at, SpfText(mended))};
}

// Within the record of a third party everything belongs to what that one lets in.
std::optional<std::string> SpfWalk::ThirdParty(const std::string& spec, const std::string& at) const {
  if (spec.empty() || !InOwnRecord()) return std::nullopt;
  auto name = ExpandForDomain(spec, at);
  if (!name || !IsThirdParty(*name, domain_)) return std::nullopt;
  return name;
}

void SpfWalk::NameThirdParty(const std::string& name, const std::string& text, const std::string& at,
                             const SpfAdmits& admits, std::vector<std::string> publish) {
  report_.Add(kinds::kSpfThirdParty, name,
              Quoted(text) + " in the record of " + at + " " + admits.Text() +
                  (publish.empty() ? "" : "; once they relay through the signing point it can go"),
              std::move(publish));
}

}  // namespace hallmark::posture
