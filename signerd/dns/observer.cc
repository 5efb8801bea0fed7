#include "signerd/dns/observer.h"

#include <algorithm>
#include <utility>

#include "signerd/dns/answer.h"
#include "signerd/dns/dnssec.h"
#include "signerd/dns/exchange.h"
#include "signerd/dns/lookup.h"
#include "signerd/dns/message.h"
#include "signerd/dns/zone.h"

namespace hallmark::dns {
namespace {

constexpr int kQuestionsInARow = 5;  // that may take their whole time

}  // namespace

struct Observer::State {
  ObserverOptions options;
  Lookup lookup;
  Records anchors;  // null: nothing is validated

  std::chrono::sys_seconds Now() const { return options.clock ? options.clock->Now() : SystemClock().Now(); }
};

// One observation: from the name asked along its aliases.
class Observer::Walk {
 public:
  explicit Walk(State& state)
      : state_(state),
        deadline_(std::chrono::steady_clock::now() +
                  kQuestionsInARow * state.options.timeout * static_cast<int>(state.options.attempts)) {
    observation_.secure = state.anchors != nullptr;
    state.lookup.SetDeadline(deadline_);
  }

  Result<Observation> Run(Rdf name) {
    constexpr int kMostLinks = 8;  // real chains have one or two
    for (int link = 0; link <= kMostLinks; ++link) {
      auto target = Follow(name.get());
      if (!target) return target.error();
      observation_.name = NameText(name.get());
      if (!*target) return std::move(observation_);
      observation_.aliases.push_back(observation_.name);
      name = std::move(*target);
      const std::string next = NameText(name.get());
      if (std::find(observation_.aliases.begin(), observation_.aliases.end(), next) != observation_.aliases.end()) {
        return MakeError(Reason::kDnsUnavailable, "the aliases of " + observation_.aliases.front() +
                                                      " go in a circle: " + observation_.name + " is one to " + next);
      }
    }
    return MakeError(Reason::kDnsUnavailable, "more than " + std::to_string(kMostLinks) + " aliases in a row from " +
                                                  observation_.aliases.front());
  }

 private:
  // Asks the servers of `name`'s zone; gives where they send on to, or null where the chain ends.
  Result<Rdf> Follow(const ldns_rdf* name) {
    const auto authority = FindAuthority(state_.lookup, name, state_.options.port);
    if (!authority) return authority.error();
    Context context{name, authority->apex.get(), nullptr, state_.Now(), ""};
    ZoneTrust trust;
    if (state_.anchors) {
      auto found = FindTrust(state_.lookup, state_.anchors.get(), authority->apex.get(), context.now);
      if (!found) return found.error();
      trust = std::move(*found);
    }
    if (trust.state == ZoneTrust::State::kSigned) context.keys = trust.keys.get();
    if (trust.state == ZoneTrust::State::kBroken) context.broken = trust.why;
    if (trust.state != ZoneTrust::State::kSigned) observation_.secure = false;
    std::vector<Said> said = AskServers(*authority, context);
    Rdf target = MostCommonTarget(said);
    for (Said& one : said) Add(std::move(one), target.get());
    return target;
  }

  // Both transports and the zone's SOA, at every address at once.
  std::vector<Said> AskServers(const Authority& authority, const Context& context) {
    const Asking asking = state_.anchors ? Asking::kServerDnssec : Asking::kServer;
    std::vector<Question> questions;
    for (const auto& address : authority.addresses) {
      using enum Question::Transport;
      questions.push_back({address.at, kUdp, MakeQuery(context.name, LDNS_RR_TYPE_TXT, asking)});
      questions.push_back({address.at, kTcp, MakeQuery(context.name, LDNS_RR_TYPE_TXT, asking)});
      questions.push_back({address.at, kUdp, MakeQuery(context.apex, LDNS_RR_TYPE_SOA, Asking::kServer)});
    }
    const auto wires = Exchange(questions, TimeLeft(deadline_, state_.options.timeout, state_.options.attempts),
                                state_.options.attempts);
    std::vector<Said> said;
    for (std::size_t i = 0; i < authority.addresses.size(); ++i) {
      const auto& address = authority.addresses[i];
      const std::string server = address.server + " " + address.at.address;
      const std::size_t udp = 3 * i, tcp = udp + 1, soa = udp + 2;
      Said over_tcp = Interpret(questions[tcp].message, wires[tcp], context);
      const bool truncated = wires[udp] && IsTruncated(*wires[udp]);
      // What does not fit into a datagram is asked for again over TCP, as any resolver does.
      Said over_udp = truncated ? Interpret(questions[tcp].message, wires[tcp], context)
                                : Interpret(questions[udp].message, wires[udp], context);
      if (truncated)
        over_udp.answer.detail = "truncated; over TCP: " +
                                 (over_udp.answer.detail.empty() ? std::string("the records") : over_udp.answer.detail);
      over_udp.answer.server = server + " UDP";
      over_tcp.answer.server = server + " TCP";
      said.push_back(std::move(over_udp));
      said.push_back(std::move(over_tcp));
      TakeNegativeTtl(questions[soa].message, wires[soa], context.apex);
    }
    for (const auto& nowhere : authority.without_address) {
      said.emplace_back().answer = {nowhere.server, ServerAnswer::Kind::kSilent, {}, nowhere.why, {}};
    }
    return said;
  }

  void TakeNegativeTtl(const Bytes& query, const Result<Bytes>& wire, const ldns_rdf* apex) {
    const auto answer = wire ? ParseUsableAnswer(query, *wire) : Result<Packet>(wire.error());
    if (!answer || !ldns_pkt_aa(answer->get())) return;
    for (const ldns_rr* soa : Select(ldns_pkt_answer(answer->get()), apex, LDNS_RR_TYPE_SOA)) {
      observation_.negative_ttl = std::max(observation_.negative_ttl, NegativeTtl(soa));
    }
  }

  static Rdf MostCommonTarget(const std::vector<Said>& said) {
    const ldns_rdf* common = nullptr;
    std::ptrdiff_t most = 0;
    for (const Said& one : said) {
      if (!one.target) continue;
      const auto count = std::count_if(said.begin(), said.end(), [&](const Said& other) {
        return other.target && ldns_dname_compare(other.target.get(), one.target.get()) == 0;
      });
      if (count > most) common = one.target.get(), most = count;
    }
    return Rdf(common ? ldns_rdf_clone(common) : nullptr);
  }

  // Takes what one server said into the list, unless it sends on to where the chain goes.
  void Add(Said said, const ldns_rdf* target) {
    observation_.longest_ttl = std::max(observation_.longest_ttl, said.longest_ttl);
    if (target != nullptr) {
      if (said.target && ldns_dname_compare(said.target.get(), target) == 0) return;
      const bool elsewhere = said.target != nullptr;
      if (said.answer.kind == ServerAnswer::Kind::kNone) {
        said.answer.detail = (elsewhere ? "an alias to " + NameText(said.target.get()) : said.answer.detail) +
                             ", while others have an alias to " + NameText(target);
      }
    }
    observation_.servers.push_back(std::move(said.answer));
  }

  State& state_;
  const std::chrono::steady_clock::time_point deadline_;
  Observation observation_;
};

Status CheckTrustAnchor(const std::filesystem::path& file) {
  const auto anchors = ReadTrustAnchors(file);
  return anchors ? Ok() : Status(anchors.error());
}

Observer::Observer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Observer::Observer(Observer&&) noexcept = default;
Observer& Observer::operator=(Observer&&) noexcept = default;
Observer::~Observer() = default;

Result<Observer> Observer::Create(ObserverOptions options) {
  Records anchors;
  if (!options.trust_anchor.empty()) {
    auto read = ReadTrustAnchors(options.trust_anchor);
    if (!read) return read.error();
    anchors = std::move(*read);
  }
  auto lookup = Lookup::Create({options.resolver, options.timeout, options.attempts, anchors != nullptr});
  if (!lookup) return lookup.error();
  return Observer(std::make_unique<State>(State{std::move(options), std::move(*lookup), std::move(anchors)}));
}

Result<Observation> Observer::ObserveTxt(const std::string& name) {
  auto parsed = ParseName(name);
  if (!parsed) return parsed.error();
  return Walk(*state_).Run(std::move(*parsed));
}

}  // namespace hallmark::dns
