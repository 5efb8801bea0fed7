#include "tools/milter/outbound.h"

#include <algorithm>

namespace hallmark::milter {
namespace {

namespace ip = boost::asio::ip;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  std::ranges::transform(lowered, lowered.begin(), Lower);
  return lowered;
}

bool Matches(const std::vector<std::string>& patterns, std::string_view text) {
  return !text.empty() &&
         std::ranges::any_of(patterns, [&](const std::string& pattern) { return MatchesPattern(pattern, text); });
}

bool Names(const std::vector<std::string>& names, std::string_view name) {
  return !name.empty() && std::ranges::find(names, name) != names.end();
}

// Postfix names the subject of a certificate that it trusts only, and knows no {verify}. Sendmail names every client's,
// and says in {verify} what it thinks of it; where it was not asked for that it may have been left out.
std::string_view VerifiedCertificate(const Macros& macros) {
  const std::string_view verify = macros.Get("verify");
  const bool trusted = verify == "OK" || (verify.empty() && macros.asked_for());
  return trusted ? macros.Get("cert_subject") : std::string_view();
}

bool IsLoopback(const ip::address& address) {
  return address.is_v6() && address.to_v6().is_v4_mapped()
             ? ip::make_address_v4(ip::v4_mapped, address.to_v6()).is_loopback()
             : address.is_loopback();
}

// What connects to an address of its own host comes from that address as a rule, and not over loopback.
bool IsThisHost(const OutboundRules& rules, const Peer& peer) {
  if (peer.local) return true;
  if (!peer.address) return false;
  return IsLoopback(*peer.address) || (rules.is_own_address && rules.is_own_address(*peer.address));
}

}  // namespace

Result<Network> Network::Parse(std::string_view text) {
  Network network;
  const std::string whole(text);
  const std::size_t slash = whole.find('/');
  boost::system::error_code v4_error, v6_error;
  if (slash == std::string::npos) {
    const auto address = ip::make_address(whole, v4_error);
    if (!v4_error && address.is_v4()) network.v4_ = ip::network_v4(address.to_v4(), 32);
    if (!v4_error && address.is_v6()) network.v6_ = ip::network_v6(address.to_v6(), 128);
    v6_error = v4_error;
  } else {
    const auto v4 = ip::make_network_v4(whole, v4_error);
    const auto v6 = ip::make_network_v6(whole, v6_error);
    if (!v4_error) network.v4_ = v4;
    if (!v6_error) network.v6_ = v6;
  }
  if (v4_error && v6_error) return MakeError(Reason::kConfigInvalid, "\"" + whole + "\" is no network");
  return network;
}

bool Network::Contains(const ip::address& address) const {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return Contains(ip::make_address_v4(ip::v4_mapped, address.to_v6()));
  }
  if (address.is_v4()) {
    return v4_ && (address.to_v4().to_uint() & v4_->netmask().to_uint()) == v4_->network().to_uint();
  }
  return v6_ && ip::network_v6(address.to_v6(), v6_->prefix_length()).network() == v6_->network();
}

bool MatchesPattern(std::string_view pattern, std::string_view text) {
  const bool open_begin = pattern.starts_with('*');
  if (open_begin) pattern.remove_prefix(1);
  const bool open_end = pattern.ends_with('*');
  if (open_end) pattern.remove_suffix(1);
  const std::string wanted = Lowered(pattern), given = Lowered(text);
  if (open_begin && open_end) return given.find(wanted) != std::string::npos;
  if (open_begin) return given.ends_with(wanted);
  if (open_end) return given.starts_with(wanted);
  return given == wanted;
}

Origin OriginOf(const OutboundRules& rules, const Peer& peer, const Macros& macros) {
  const std::string_view daemon = macros.Get("daemon_name");
  if (Names(rules.inbound_daemon_names, daemon)) return Origin::kOutside;
  if (rules.authenticated && !macros.Get("auth_authen").empty()) return Origin::kOwn;
  if (Matches(rules.certificates, VerifiedCertificate(macros))) return Origin::kOwn;
  if (Names(rules.daemon_names, daemon) || Names(rules.daemon_ports, macros.Get("daemon_port"))) return Origin::kOwn;
  const auto address = peer.local ? ip::address(ip::address_v4::loopback()) : peer.address;
  const bool inside = address && std::ranges::any_of(rules.networks, [&](const Network& network) {
                        return network.Contains(*address);
                      });
  if (!inside) return Origin::kOutside;
  return !rules.reinjected && IsThisHost(rules, peer) ? Origin::kThisHost : Origin::kOwn;
}

std::string_view FindPartner(const std::vector<PartnerRule>& partners, const Macros& macros) {
  const auto holds = [&](const PartnerRule& rule) {
    return Matches(rule.users, macros.Get("auth_authen")) || Matches(rule.certificates, VerifiedCertificate(macros)) ||
           Names(rule.daemon_names, macros.Get("daemon_name")) || Names(rule.daemon_ports, macros.Get("daemon_port"));
  };
  const auto found = std::ranges::find_if(partners, holds);
  return found == partners.end() ? std::string_view() : std::string_view(found->name);
}

}  // namespace hallmark::milter
