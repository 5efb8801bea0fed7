#include "signerd/dns/lookup.h"

#include <algorithm>

namespace hallmark::dns {
namespace {

Result<std::vector<Nameserver>> SystemResolvers() {
  ldns_resolver* raw = nullptr;
  const ldns_status status = ldns_resolver_new_frm_file(&raw, nullptr);
  const std::unique_ptr<ldns_resolver, LdnsFree<ldns_resolver_deep_free>> resolver(raw);
  if (status != LDNS_STATUS_OK) {
    return MakeError(Reason::kIoFailed, std::string("/etc/resolv.conf: ") + ldns_get_errorstr_by_id(status));
  }
  std::vector<Nameserver> servers;
  for (std::size_t i = 0; i < ldns_resolver_nameserver_count(raw); ++i) {
    const LdnsText address(ldns_rdf2str(ldns_resolver_nameservers(raw)[i]));
    if (address) servers.push_back({address.get(), 53});
  }
  if (servers.empty()) return MakeError(Reason::kIoFailed, "/etc/resolv.conf names no name server: name one");
  return servers;
}

Error Unanswered(const Lookup::Query& query, const Nameserver& server, const std::string& why) {
  const LdnsText type(ldns_rr_type2str(query.type));
  return MakeError(Reason::kDnsUnavailable, "no answer for " + NameText(query.name) + " " + (type ? type.get() : "?") +
                                                " from the resolver " + server.address + ": " + why);
}

}  // namespace

Result<Lookup> Lookup::Create(const Options& options) {
  if (options.attempts == 0 || options.timeout.count() <= 0) {
    return MakeError(Reason::kInvalidArgument, "a resolver needs at least one attempt and a time-out above zero");
  }
  if (options.resolver) {
    const auto address = ParseNameserver(options.resolver->address);
    if (!address) return address.error();
    return Lookup(options, {*options.resolver});
  }
  auto servers = SystemResolvers();
  if (!servers) return servers.error();
  return Lookup(options, std::move(*servers));
}

Result<Packet> Lookup::Ask(const ldns_rdf* name, ldns_rr_type type) {
  const Query query{name, type};
  return std::move(AskAll({&query, 1}).front());
}

std::vector<Result<Packet>> Lookup::AskAll(std::span<const Query> queries) {
  std::vector<Result<Packet>> answers = AskServer(servers_.front(), queries);
  std::size_t first = 0;  // that gave any answer
  const auto any = [](const auto& list) {
    return std::any_of(list.begin(), list.end(), [](auto& one) { return !!one; });
  };
  bool answered = any(answers);
  for (std::size_t next = 1; next < servers_.size(); ++next) {
    std::vector<Query> left;
    std::vector<std::size_t> which;
    for (std::size_t i = 0; i < queries.size(); ++i) {
      if (!answers[i]) left.push_back(queries[i]), which.push_back(i);
    }
    if (left.empty()) break;
    std::vector<Result<Packet>> more = AskServer(servers_[next], left);
    if (!answered && any(more)) answered = true, first = next;
    for (std::size_t i = 0; i < left.size(); ++i) answers[which[i]] = std::move(more[i]);
  }
  // Or those before it would cost each question their whole time.
  std::rotate(servers_.begin(), servers_.begin() + static_cast<std::ptrdiff_t>(first), servers_.end());
  return answers;
}

std::vector<Result<Packet>> Lookup::AskServer(const Nameserver& server, std::span<const Query> queries) {
  std::vector<Question> questions;
  const Asking asking = options_.dnssec ? Asking::kResolverDnssec : Asking::kResolver;
  for (const Query& query : queries) {
    questions.push_back({server, Question::Transport::kUdp, MakeQuery(query.name, query.type, asking)});
  }
  const auto wires = Exchange(questions, TimeLeft(deadline_, options_.timeout, options_.attempts), options_.attempts);
  std::vector<Result<Packet>> answers;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    Question& question = questions[i];
    Result<Bytes> wire = wires[i];
    if (wire && IsTruncated(*wire)) {
      question.transport = Question::Transport::kTcp;
      const auto timeout = TimeLeft(deadline_, options_.timeout, options_.attempts);
      wire = std::move(Exchange({&question, 1}, timeout, options_.attempts).front());
    }
    auto answer = wire ? ParseUsableAnswer(question.message, *wire) : Result<Packet>(wire.error());
    if (!answer) answer = Unanswered(queries[i], server, answer.error().message);
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace hallmark::dns
